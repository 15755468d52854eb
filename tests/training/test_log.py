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
