"""The training loop: any Task, under DeepSpeed, from a recipe's sections, into a run.

Step n is a pure function of (seed, n) and of the model's state: data, learning rate and random numbers. A resumed run
therefore repeats the uninterrupted one.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from polycli import console
from polycli.checkpoints.manifest import Checkpoint
from polycli.engine import ranks
from polycli.engine.batches.prefetch import Prefetcher
from polycli.engine.checkpoints.checkpointing import Checkpointer, TrainerState, averaged_weights
from polycli.engine.checkpoints.export import restore_weights
from polycli.engine.checkpoints.retention import choose
from polycli.engine.deepspeed.backend import EvaluationForward, device_of, start_engine
from polycli.engine.deepspeed.config import check_sections
from polycli.engine.ema import AveragedWeights
from polycli.engine.failures import failures_in
from polycli.engine.layers import factors_of
from polycli.engine.memory import rehearse, wants_check
from polycli.engine.monitor.metrics import CutBack, MetricsFile, SpeedMeter, peak_memory
from polycli.engine.monitor.peaks import peak_of
from polycli.engine.monitor.profiling import StepProfiler
from polycli.engine.monitor.spikes import find_spike, remember
from polycli.engine.monitor.trackers import Trackers
from polycli.engine.randomness import seed_step
from polycli.engine.run import METRICS_NAME, Run, State
from polycli.engine.schedule import scheduled_decay, scheduled_rate
from polycli.engine.signals import StopRequest
from polycli.engine.start_report import change_of_layout, jump_of_rate, long_warmup, processes, short_for_average
from polycli.engine.step_report import (
    SHOWN_SAMPLES,
    StepAgreement,
    StepReport,
    agree,
    explain_bad_step,
    report_of_step,
    samples_of_step,
)
from polycli.engine.stepper import Stepper, StepResult
from polycli.engine.task import Task
from polycli.errors import BadNumbersError, PreemptedError, RunError, SaveError, TrainingError, UserError
from polycli.launch import World
from polycli.requests import JsonDocument
from polycli.sections import EngineSection, LogSection, OptimSection, ScheduleSection, TrainSection

_LOWER_RATE = "; --resume must with a lower optim.learning_rate goes on from there"
#: What the best checkpoint is chosen by; the lowest wins.
SELECTION_METRIC = "validation/loss"


@dataclass(frozen=True)
class TrainOutcome:
    """How a training ended."""

    step: int
    #: The newest checkpoint.
    checkpoint: Path
    #: The last validation's scores; empty where the run had been complete before.
    validation: Mapping[str, float]
    bad_steps: int

    def document(self, run: Path) -> JsonDocument:
        """Return the document that `--json` prints."""
        return {
            "run": str(run),
            "step": self.step,
            "checkpoint": str(self.checkpoint),
            "validation": dict(self.validation),
            "bad_steps": self.bad_steps,
        }


def train(
    task: Task,
    *,
    optim: OptimSection,
    schedule: ScheduleSection,
    train: TrainSection,
    engine: EngineSection,
    log: LogSection,
    run: Run,
    world: World,
    workers: int = 0,
) -> TrainOutcome:
    """Train `task.model` to `train.steps` optimizer steps, from the run's newest checkpoint if it has one.

    `workers` threads read ahead. Raises `PreemptedError` after a signal, with everything saved, and `TrainingError`
    where the numbers stay non-finite. The model belongs to DeepSpeed afterwards: read it from the checkpoint.
    """
    check_sections(optim, engine)
    sections = Sections(optim, schedule, train, engine, log)
    try:
        with failures_in(run, train, engine, world), StopRequest() as stop:
            checkpoint = choose(run, world, optimizer=optim.name, steps=train.steps)
            if checkpoint is not None and checkpoint.manifest.step > train.steps:
                raise RunError(
                    f"{run.path}: is at step {checkpoint.manifest.step}, past the {train.steps} of train.steps",
                    hint="choose another --output, or raise train.steps",
                )
            if checkpoint is not None and checkpoint.manifest.step == train.steps:
                step = checkpoint.manifest.step
                run.say(f"{run.path}: complete already, at step {step}")
                # It may have been killed after its last save and before it could say so.
                run.write_status("complete", step=step, checkpoint=checkpoint.directory)
                return TrainOutcome(step, checkpoint.directory, {}, 0)
            if checkpoint is not None:
                # DeepSpeed makes its shards and master copies of the weights that it finds.
                restore_weights(task, checkpoint)
            loop = _Loop(task, sections, run, world, stop)
            loop.begin(checkpoint)
            try:
                return loop.run_to_the_end(workers)
            except UserError as error:
                # A store that turns out to be damaged, say: this start was accepted, so the run has failed.
                run.fail(error.message)
                raise
    finally:
        run.close()


@dataclass(frozen=True)
class Sections:
    """The parts of a recipe that the engine reads."""

    optim: OptimSection
    schedule: ScheduleSection
    train: TrainSection
    engine: EngineSection
    log: LogSection


class _Loop:
    """One training, from its start or resume to its end."""

    def __init__(self, task: Task, sections: Sections, run: Run, world: World, stop: StopRequest) -> None:
        self.task, self.sections, self.run, self.world, self.stop = task, sections, run, world, stop
        self.steps = sections.train.steps
        self.device = device_of(world)
        self.engine = start_engine(
            task.model,
            sections.optim,
            sections.engine,
            world,
            blocks=task.blocks(),
            lengths_vary=task.lengths_vary,
            factors=factors_of(task, sections.optim),
        )
        self.stepper = Stepper(self.engine, device=self.device, clip_norm=sections.optim.clip_norm)
        self.checkpointer = Checkpointer(
            task, self.engine, run, world, optimizer=sections.optim.name, train=sections.train
        )
        self.metrics = MetricsFile(run.path / METRICS_NAME, writes=world.rank == 0)
        self.peak = peak_of(self.device, sections.engine.precision)
        self.meter = SpeedMeter(self.peak.flops * world.size, task.flops_per_step(), task.tokens_per_step())
        decay = sections.optim.ema_decay
        self.average = AveragedWeights(self.engine, task.exported(), decay, world) if decay is not None else None
        if self.average is not None:
            self.checkpointer.averaged, self.checkpointer.ema_decay = self.average.exported, decay
        self.state = TrainerState()
        self.save_is_due = False
        self.agreed = StepAgreement(0.0, 0)
        self.validation: dict[str, float] = {}

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Start afresh or go on from a checkpoint, and say which."""
        if checkpoint is not None:
            self.state = self.checkpointer.load(checkpoint)
            averaged = averaged_weights(checkpoint)
            if self.average is not None and averaged is not None:
                self.average.load(averaged)
        lines = self.metrics.cut_back(self.state.step)
        self.trackers = Trackers(self.sections.log, self.run, step=self.state.step)
        self._say_start(checkpoint, lines)
        self._status("running")

    def _say_start(self, checkpoint: Checkpoint | None, lines: CutBack) -> None:
        start = f"from {checkpoint.directory}" if checkpoint is not None else "from the beginning"
        engine, schedule, optim = self.sections.engine, self.sections.schedule, self.sections.optim
        self.run.say(
            f"{self.task.verb} {self.task.family}: step {self.state.step} to {self.steps}, {start}; "
            f"{processes(self.world.size)}, ZeRO {engine.zero_stage}, {engine.precision}, into {self.run.path}"
        )
        self.run.log(f"peak of a device: {self.peak.flops:.3g} FLOP/s, {self.peak.source}; mfu is relative to it")
        last_rate = self.state.learning_rate
        if last_rate is None and optim.name != "dadapt_adan":  # whose logged rate is not the schedule's
            last_rate = lines.learning_rate
        notes = (None if checkpoint is None else change_of_layout(checkpoint, self.world, engine),)
        warnings = (
            *lines.problems(self.state.metrics_bytes, self.state.metrics_sha256),
            jump_of_rate(last_rate, optim, schedule, steps=self.steps, step=self.state.step),
            short_for_average(self.average, self.steps),
        )
        for speak, sentences in ((console.note, (*notes, long_warmup(schedule, self.steps))), (console.warn, warnings)):
            for sentence in filter(None, sentences):
                self.run.say(sentence, speak)

    def run_to_the_end(self, workers: int) -> TrainOutcome:
        """All steps that are left. The last one validates and saves."""
        on_gpu = self.device.type == "cuda"
        feed = Prefetcher(
            self.task, self.world, first=self.state.step, last=self.steps, workers=workers, pin_memory=on_gpu
        )
        profiler = StepProfiler(
            self.run, self.device, first=self.state.step, last=self.steps, count=self.sections.log.profile
        )
        if wants_check(self.sections.engine, self.device):
            rehearse(self.task, self.stepper, self.sections.optim, self.world, step=self.state.step)
        bar = console.progress(self.steps, f"{self.task.verb} {self.task.family}", initial=self.state.step)
        with self.trackers, feed, profiler, bar as progress:
            self._agree(None, feed)
            self.meter.restart()
            while self.state.step < self.steps:
                profiler.begin_step(self.state.step)
                result = self._step(feed)
                profiler.end_step(self.state.step - 1)
                self._report(result, feed, progress)
                self._validate_and_save()
        if bad := self.state.consecutive_bad_steps:
            taken = self.state.step - bad
            self.run.say(f"the last steps were bad: the weights are those of step {taken}", console.warn)
        self._status("complete")
        self.engine.destroy()
        checkpoint = self.checkpointer.last
        if checkpoint is None:  # pragma: no cover - the last step has saved
            raise TrainingError(f"{self.run.path}: the run ended without a checkpoint")
        return TrainOutcome(self.state.step, checkpoint, self.validation, self.state.bad_steps)

    def _step(self, feed: Prefetcher) -> StepResult:
        """Take one optimizer step: read, compute and move."""
        index, sections = self.state.step, self.sections
        seed_step(sections.train.seed, index, self.world.rank)
        self.state.learning_rate = scheduled_rate(sections.optim, sections.schedule, self.steps, index)
        result = StepResult()
        for loaded in feed.step():
            self.stepper.accumulate(loaded, result)
        decay = scheduled_decay(sections.optim, self.steps, index)
        self.stepper.move(result, self.state.learning_rate, decay)
        self.state.step += 1
        self.state.samples += sections.train.global_batch_size
        self.meter.count(sections.train.global_batch_size)
        return result

    def _report(self, result: StepResult, feed: Prefetcher, progress: console.ProgressReport) -> None:
        """Draw the consequences of a step: the average, a line in the log where one is due, warnings."""
        self._agree(result, feed)
        if self.state.step % self.sections.log.every == 0 or self.state.step == self.steps:
            self._log(result, feed, progress)
        if result.moved:
            self.state.consecutive_bad_steps = 0
            if self.average is not None:
                self.average.update(self.state.step - self.state.bad_steps)
            self._watch_loss(result)
        else:
            self._count_bad_step(result)
        progress.advance()

    def _agree(self, result: StepResult | None, feed: Prefetcher) -> None:
        expected = self.sections.train.global_batch_size
        self.agreed = agree(self.world, result, self.stop.signal_number, feed.next_size(), expected)

    def _log(self, result: StepResult, feed: Prefetcher, progress: console.ProgressReport) -> None:
        report: StepReport = report_of_step(self.world, result)
        # The slowest reader and the fullest device set the pace and the limit for all.
        costs = ranks.everyone(self.world, [peak_memory(self.device), feed.wait_seconds])
        memory, wait_seconds = (max(values) for values in zip(*costs, strict=True))
        speed = self.meter.read(wait_seconds, int(memory))
        values = {
            "loss": report.loss,
            "learning_rate": self.stepper.learning_rate(),
            "gradient_norm": result.gradient_norm,
            **report.metrics,
        }
        self._record("train", values, speed)
        progress.update(loss=report.loss, samples_per_second=speed["samples_per_second"])
        feed.wait_seconds = 0.0
        self.meter.restart()

    def _watch_loss(self, result: StepResult) -> None:
        """Flag a loss that stands out; the step is taken all the same."""
        factor, recent = self.sections.log.spike_factor, self.state.recent_losses
        spike = None if factor is None else find_spike(self.agreed.loss, recent, factor)
        remember(self.agreed.loss, recent)
        if spike is None:
            return
        samples = samples_of_step(self.world, result)
        values = {"loss": spike.loss, "median": spike.median, "deviations": spike.deviations, "samples": samples}
        self._record("spike", values, {})
        self.run.say(f"step {self.state.step}: {spike}; in {console.first_few(samples, SHOWN_SAMPLES)}", console.note)

    def _count_bad_step(self, result: StepResult) -> None:
        """Count steps whose numbers were not finite, and end the run where they do not stop."""
        self.state.bad_steps += 1
        self.state.consecutive_bad_steps += 1
        bad = explain_bad_step(self.world, result)
        step, most = self.state.step, self.sections.train.max_bad_steps
        self._record("bad_step", {"reason": bad.reason, "samples": bad.samples}, {})
        self.run.say(f"step {step}: {bad}; skipped by all ranks", console.warn)
        if self.state.consecutive_bad_steps >= most:
            self.checkpointer.settle(wait=True)
            self.checkpointer.distrust(step - most)
            self._status("running")  # so that it names the checkpoint that has become whole by now
            raise BadNumbersError(
                f"step {step}: {bad}; {most} bad steps in a row (train.max_bad_steps)",
                hint=self.checkpointer.fallback() + (_LOWER_RATE if self.checkpointer.last is not None else ""),
            )

    def _validate_and_save(self) -> None:
        """Do what is due after a step: a validation, a checkpoint, a stop."""
        paused = self.meter.pause()
        step, settings = self.state.step, self.sections.train
        last = step == self.steps
        stop = 0 if last else self.agreed.stop_signal
        metric = None
        if last or step % settings.validate_every == 0:
            metric = self._validate()
        # Weights that a streak of bad steps tells of are no state to go back to: a save that is due waits for its end.
        in_streak = self.state.consecutive_bad_steps > 0
        self.save_is_due |= step % settings.checkpoint_every == 0
        if last or stop or (self.save_is_due and not in_streak):
            self.save_is_due = False
            self.metrics.settle()
            self.state.metrics_bytes, self.state.metrics_sha256 = self.metrics.written()
            self.checkpointer.save(self.state, metric, last=last or bool(stop))
            self._status("running", self.checkpointer.failure or "")
        elif self.checkpointer.settle():
            self._status("running", self.checkpointer.failure or "")
        if (last or stop) and self.checkpointer.failure is not None:
            raise SaveError(self.checkpointer.failure, hint=self.checkpointer.fallback())
        if stop:
            self.stop.saved = True
            name = signal.Signals(stop).name
            self._status("preempted", f"stopped by {name}")
            # A launcher ends the other ranks soon after the first one is gone: not before rank 0 has written this.
            ranks.wait_for_all(self.world)
            raise PreemptedError(
                f"stopped by {name} after step {step} of {self.steps}; everything is saved in {self.run.path}",
                hint="run the same line again to go on",
            )
        self.meter.resume(paused)

    def _validate(self) -> tuple[str, float] | None:
        started = time.perf_counter()
        seed_step(self.sections.train.seed, self.state.step, self.world.rank, "validate")
        self.engine.eval()
        with nullcontext() if self.average is None else self.average.in_place_of_weights():
            self.validation = self.task.validate(EvaluationForward(self.engine, self.device), self.world)
        self.engine.train()
        self._record("validation", self.validation, {"seconds": time.perf_counter() - started})
        loss = self.validation.get(SELECTION_METRIC)
        if loss is None:
            return None
        if not math.isfinite(loss):
            message = f"step {self.state.step}: {SELECTION_METRIC} is not finite, so its checkpoint cannot be the best"
            self.run.say(message, console.warn)
            return None
        best = self.state.best_metric
        self.state.best_metric = loss if best is None or loss < best else best
        return SELECTION_METRIC, loss

    def _record(self, kind: str, values: Mapping[str, object], speed: Mapping[str, object]) -> None:
        self.metrics.append(kind, self.state.step, values, speed)
        self.trackers.write(kind, self.state.step, values, speed)

    def _status(self, state: State, message: str = "") -> None:
        self.run.write_status(state, step=self.state.step, checkpoint=self.checkpointer.last, message=message)
