"""What `inspect` tells of MPP's stores."""

from polycli.mpp.inspection import MppInspector


def test_a_store_says_grid_time_step_and_parameters_and_no_empty_units():
    about = {
        "physics": "gs",
        "fields": ["gs.u", "gs.v"],
        "units": ["", "mol/L"],
        "dt": 40.0,
        "grid": [48, 32],
        "extent": [[0, 4.8], [0, 3.2]],
        "boundary_conditions": {"x": "periodic", "y": "wall"},
        "parameter_names": ["feed"],
        "constants": {},
    }
    facts = MppInspector().store(about)
    assert facts["fields"] == ["gs.u", "gs.v [mol/L]"]
    assert facts["grid"] == "48 points along x, 0 to 4.8; 32 points along y, 0 to 3.2"
    assert (facts["time step"], facts["parameters"]) == ("40", ["feed"])
