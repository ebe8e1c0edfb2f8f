"""Mean losses of an epoch; a loss that is no number is in `trainer_test`."""

from pipelines.training.epochs.losses import MeanLosses


def test_the_logged_loss_is_the_mean_over_the_epoch():
    callback, logs = MeanLosses(), {"loss": 7.0, "other": 1.0}
    for _ in range(2):  # An epoch starts anew.
        callback.on_epoch_begin(0)
        for step, loss in enumerate([1.0, 3.0, 8.0]):
            callback.on_train_batch_end(step, {"loss": loss})
        callback.on_epoch_end(0, logs)

    assert logs == {"loss": 4.0, "other": 1.0}
