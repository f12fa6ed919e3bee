"""The heads of few-shot learning with scikit-learn's conventions: ``fit``, ``predict``, ``score``, ``get_params``.

They need no scikit-learn, but work in its pipelines, ``cross_val_score`` and ``GridSearchCV``. A head keeps the training samples and
is fitted to them again by every call of ``predict`` or ``decision_function``, as in an episode; it is meant for small support sets.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal

from . import _native
from ._arrays import as_array, as_matrix, as_vector

if TYPE_CHECKING:
    import numpy as np
else:
    from . import _numpy as np

__all__ = ["Cosine", "Discriminant", "Logistic", "NearestMean", "Ridge", "SimpleShot"]


class Head:
    """What all heads share. ``X`` are features ``[n, p]``, ``y`` labels ``[n]`` of any type, such as strings."""

    _estimator_type = "classifier"

    def _kind(self) -> str:
        """The name of the head in results of ``fewshot.evaluate``."""
        raise NotImplementedError

    def _base_mean(self) -> np.ndarray | None:
        return None

    def fit(self, X: Any, y: Any) -> Head:
        """Keeps the support features ``X`` ``[n, p]`` and their labels ``y`` ``[n]``, of at least two classes."""
        features, labels = as_matrix(X, "X"), as_array(y, "y")
        if labels.ndim != 1:
            raise ValueError(f"y: expected shape [n], got {list(labels.shape)}")
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y: expected at least two classes, got {len(classes)}")
        numbers = np.require(numbers, np.int64, ["C"])
        _native.check_support(self._kind(), features, numbers, self._base_mean())
        self.classes_ = classes
        self.n_features_in_ = features.shape[1]
        self._support = features.copy()
        self._numbers = numbers
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores ``[n, k]`` of every class; for two classes ``[n]``, the second score less the first."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The label with the largest score ``[n]``; the first of equal ones."""
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples that are predicted correctly."""
        correct = self.predict(X) == as_array(y, "y")
        return float(np.average(correct, weights=sample_weight))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Head:
        """Sets settings by name."""
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(f"{type(self).__name__} has no setting {name!r}; it has {', '.join(self._names()) or 'none'}")
            setattr(self, name, value)
        return self

    def _scores(self, X: Any) -> np.ndarray:
        if not hasattr(self, "classes_"):
            raise ValueError(f"{type(self).__name__}: call fit before predict")
        queries = as_matrix(X, "X")
        if len(queries) == 0:
            return np.empty((0, len(self.classes_)))
        dtype = np.result_type(self._support, queries)
        support, queries = self._support.astype(dtype, copy=False), queries.astype(dtype, copy=False)
        return _native.head_scores(self._kind(), support, self._numbers, queries, self._base_mean())

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "args", "kwargs")]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"


class NearestMean(Head):
    """Predicts the class whose mean is nearest in Euclidean distance (``ncm``)."""

    def __init__(self) -> None:
        pass

    def _kind(self) -> str:
        return "ncm"


class Cosine(Head):
    """Predicts the class whose mean has the largest cosine similarity (``cosine``)."""

    def __init__(self) -> None:
        pass

    def _kind(self) -> str:
        return "cosine"


class SimpleShot(Head):
    """Nearest mean of transformed features: ``un`` (none), ``l2n``, or ``cl2n`` with the mean ``[p]`` of the base classes."""

    def __init__(self, transform: Literal["un", "l2n", "cl2n"] = "l2n", base_mean: Any = None) -> None:
        self.transform = transform
        self.base_mean = base_mean

    def _kind(self) -> str:
        return f"simpleshot:{self.transform}"

    def _base_mean(self) -> np.ndarray | None:
        return None if self.base_mean is None else as_vector(self.base_mean, "base_mean")


class Ridge(Head):
    """Ridge regression to one-hot targets.

    ``penalty`` is λ, a text such as ``"0.1*gram"`` (relative to the mean diagonal of the Gram matrix) or ``"0.1*n"``, or ``"loo"``:
    chosen by leave-one-out.
    """

    def __init__(self, penalty: float | str = 1.0, penalised_bias: bool = False) -> None:
        self.penalty = penalty
        self.penalised_bias = penalised_bias

    def _kind(self) -> str:
        return f"ridge:{self.penalty}" + (":penalised-bias" if self.penalised_bias else "")


class Logistic(Head):
    """Multinomial logistic regression with the L2 penalty λ = ``penalty``."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def _kind(self) -> str:
        return f"logistic:{self.penalty}"


class Discriminant(Head):
    """Linear discriminant analysis; ``shrinkage`` γ in [0, 1], or ``"auto"`` (Ledoit and Wolf)."""

    def __init__(self, shrinkage: float | Literal["auto"] = "auto") -> None:
        self.shrinkage = shrinkage

    def _kind(self) -> str:
        return f"lda:{self.shrinkage}"
