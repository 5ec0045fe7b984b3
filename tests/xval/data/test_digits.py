"""The digits that answers are written with are those of the numbers that trained."""

from polycli.xval.data.digits import digits_of
from polycli.xval.data.store import open_records
from polycli.xval.records.decode import decode_records


def test_records_that_do_not_train_say_nothing_of_the_digits(records_store):
    fine, coarse = ([{"mass": number / scale} for number in range(1, 400, 8)] for scale in (1000, 10))
    both = open_records(records_store([*fine, *coarse], "both"))
    training = decode_records(both.read(both.rows("train")), both.vocabulary)
    # A record is in the same split beside others: those of three decimals that are left do not train.
    kept = [record for record in fine if record not in training] + [record for record in coarse if record in training]
    store = open_records(records_store(kept, "kept"))
    assert 0 < len(store.rows("train")) < len(kept)
    assert digits_of([store]).decimals == {"mass": 1}
