"""The picture of a training's losses."""

from PIL import Image

from lookalike.reports.plots.curves import loss_plot
from lookalike.reports.plots.training import training_curve


def write_log(path, n):
    rows = [f"{i},1,{10 / i},{4 / i},0.001" for i in range(1, n + 1)]
    path.write_text("\n".join(["step,epoch,loss,final,backbone_rate", *rows]) + "\n")
    return path


def test_a_log_becomes_a_picture(tmp_path):
    picture = training_curve(write_log(tmp_path / "log.csv", 450), tmp_path / "curve.png")
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(10**6)) > 10


def test_losses_are_drawn_and_rates_are_not(tmp_path, monkeypatch):
    drawn = {}

    def listen(steps, losses, *, title):
        drawn.update(steps=steps, losses=losses, title=title)
        return loss_plot(steps, losses, title=title)

    monkeypatch.setattr("lookalike.reports.plots.training.loss_plot", listen)
    training_curve(write_log(tmp_path / "log.csv", 450), tmp_path / "curve.png")
    assert set(drawn["losses"]) == {"loss", "final"}
    assert drawn["losses"]["loss"][0] == (10 / 1 + 10 / 2) / 2  # means of two steps
    assert drawn["title"] == "loss over 450 steps, means of 2"
