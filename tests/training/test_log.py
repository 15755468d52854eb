import datetime

from lookalike.training import log as logs
from lookalike.training.log import CsvLog


def test_a_log_goes_on_after_the_step_of_a_checkpoint(tmp_path):
    log, undisturbed = CsvLog(tmp_path / "a.csv"), CsvLog(tmp_path / "b.csv")
    for step in range(1, 6):
        log.add({"step": step, "loss": 0.1 * step})
    with (tmp_path / "a.csv").open("a") as file:
        file.write("6,0.")  # killed while it wrote
    log.begin(after_step=3)
    for step in (4, 5):
        log.add({"step": step, "loss": 0.1 * step})
    for step in range(1, 6):
        undisturbed.add({"step": step, "loss": 0.1 * step})
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert [row["step"] for row in log.rows()] == [1, 2, 3, 4, 5]


def test_a_training_that_begins_anew_has_an_empty_log(tmp_path):
    log = CsvLog(tmp_path / "a.csv")
    log.begin(after_step=0)
    assert log.rows() == []
    log.add({"step": 1, "loss": 2.0})
    log.begin(after_step=0)
    assert log.rows() == []


def test_a_log_for_people_gets_a_line_a_minute_and_what_matters_at_once(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    minutes = logs.MinuteLog(tmp_path / "progress.log")
    for second in range(0, 130, 10):
        now[0] = 1000.0 + second
        minutes.add(f"step {second}", now=second == 30)
    lines = (tmp_path / "progress.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["step 0", "step 30", "step 90"]
    assert datetime.datetime.fromisoformat(lines[0].split(" ")[0]).tzinfo is not None
