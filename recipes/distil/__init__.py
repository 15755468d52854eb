"""Distillation: how the bundled models ``mini`` and ``mini-vit`` were made from an ImageNet teacher.

    uv run python -m recipes.distil --settings recipes/mini/settings.json --shared ../shared

``settings`` says what is trained, ``material`` reads and generates the pictures, ``blocks`` and
``training`` train, ``evaluate`` and ``curve`` report.
"""
