"""Mixture scoring, conformal p-values and the archive, against independent computations."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, multivariate_normal

from pipeline.one_class import (
    LIMIT,
    VIEWS,
    Calibration,
    Fusion,
    Growth,
    OneClassModel,
    Traces,
    Views,
    beyond_one,
    clopper_pearson,
    percentile,
)
from pipeline.retrain.fit import (
    Likelihoods,
    PhotoFeatures,
    _view,
    by_stability,
    choose_views,
    fit_mixture,
    fit_one_class,
    fit_views,
    growth,
)
from pipeline.statistics import describe, self_described
from pipeline.windows import TOGETHER

rng = np.random.default_rng(3)
FEATURES = np.concatenate([rng.normal(0, 1, (150, 20)), rng.normal(4, 2, (150, 20))]) * np.linspace(3, 0.1, 20)


def traces(features=FEATURES) -> Traces:
    """One kind of trace has the two clusters of `FEATURES`, the others are parts of it in another unit."""
    counts = np.full(len(features), TOGETHER)
    return Traces(features, means=100 * features[:, :12] ** 2, deviations=np.abs(features[:, 8:]), patch_counts=counts)


ONE = np.array([TOGETHER])
"""Window, of however many images."""


def photos(features=FEATURES, groups=30) -> PhotoFeatures:
    names = np.array([f"camera-{i % groups}" for i in range(len(features))])
    return PhotoFeatures(traces(features), rng.uniform(0.01, 0.4, len(features)), names)


@pytest.fixture(scope="module")
def model() -> OneClassModel:
    patch = fit_mixture(FEATURES, axes=8, components=2, seed=0)
    return fit_one_class(photos(FEATURES[::2]), photos(FEATURES[1::2]), patch=patch, seed=0)[0]


def test_log_likelihood_is_that_of_the_mixture_and_the_residual_gaussian():
    mixture = fit_mixture(FEATURES, axes=5, components=3, seed=0)
    rest = np.linalg.svd(mixture.axes, full_matrices=True)[0][:, 5:]  # the 15 axes left out
    kept, left_out = (FEATURES - mixture.mean) @ mixture.axes, (FEATURES - mixture.mean) @ rest
    covariances = [np.linalg.inv(p @ p.T) for p in mixture.precision_cholesky]
    density = sum(
        weight * multivariate_normal(mean, covariance).pdf(kept)
        for weight, mean, covariance in zip(mixture.weights, mixture.means, covariances, strict=True)
    )
    residual = multivariate_normal(np.zeros(15), mixture.residual_variance[0] * np.eye(15)).logpdf(left_out)
    np.testing.assert_allclose(mixture.log_likelihood(FEATURES), np.log(density) + residual, rtol=1e-8)


def test_an_outlier_outside_the_kept_axes_is_seen():
    mixture = fit_mixture(FEATURES, axes=5, components=1, seed=0)
    rest = np.linalg.svd(mixture.axes, full_matrices=True)[0][:, 5:]
    odd = mixture.mean + 40 * rest[:, 0]
    assert mixture.log_likelihood(odd[None])[0] < mixture.log_likelihood(FEATURES).min()


def test_chosen_configuration_is_the_best_held_out_one():
    fitted = choose_views(photos(), seed=0)
    tried = [choice for choice in fitted.tried if choice.view == "embedding"]
    best = max(tried, key=lambda choice: choice.held_out_log_likelihood)
    assert best.components >= 2, "the data have two clusters"
    assert len(tried) > 3
    assert fitted.chosen["embedding"] == best
    assert fitted.views.embedding.mixture.axes.shape[1] == min(best.axes, 20)
    assert len(fitted.views.embedding.mixture.weights) == best.components


def test_views_count_alike_whatever_their_unit():
    fitted = choose_views(photos(), seed=0)
    same = replace(traces(), means=traces().means / 1000)
    again = choose_views(replace(photos(), traces=same), seed=0)
    for view, standings in fitted.held_out.items():
        np.testing.assert_allclose(again.held_out[view], standings, atol=0.01)


def test_a_density_does_not_depend_on_the_unit_that_a_view_chose():
    view = choose_views(photos(), seed=0).views.embedding
    doubled = replace(
        view.mixture,
        mean=view.mixture.mean / 2,
        means=view.mixture.means / 2,
        precision_cholesky=view.mixture.precision_cholesky * 2,
        residual_variance=view.mixture.residual_variance / 4,
    )
    in_another = replace(view, mixture=doubled, scale=view.scale * 2)
    np.testing.assert_allclose(in_another.log_density(FEATURES), view.log_density(FEATURES))


def test_no_view_silences_the_others():
    views = choose_views(photos(), seed=0).views
    odd = np.full((1, 20), 1e6)
    every = views.log_likelihood(Traces(odd, odd[:, :12], odd[:, 8:], ONE))
    one = views.log_likelihood(replace(traces(FEATURES[:1]), embedding=odd))
    assert every == pytest.approx(-LIMIT)
    assert -LIMIT < one[0] < 0


def test_the_parts_of_a_self_description_are_told_apart():
    """Patches that are all the same do not deviate from their mean."""
    patches = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8), 16, axis=0)
    found = Traces.of(FEATURES[:1], self_described(describe(patches))[None], ONE)
    assert found.means.shape == found.deviations.shape == (1, 144)
    assert np.abs(found.deviations).max() < 1e-6 < np.abs(found.means).max()


def test_a_view_weighs_the_less_the_more_handling_changes_it():
    views = choose_views(photos(), seed=0).views
    found = traces()
    handled = Traces(found.embedding + 2.0, found.means * 1.3, found.deviations + 0.3, found.patch_counts)
    weights = by_stability(views, found, handled).weights
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["embedding"] == 0.5, "nothing is said of the encoder: a view that says little is stable, too"
    change = {
        name: np.mean((view.standing(getattr(handled, name), ONE) - view.standing(getattr(found, name), ONE)) ** 2)
        for name, view in views.by_name.items()
    }
    assert weights["deviations"] / weights["means"] == pytest.approx(change["means"] / change["deviations"])
    assert change["means"] != pytest.approx(change["deviations"], rel=0.1)


def test_a_view_that_nothing_changes_does_not_divide_by_zero():
    views = choose_views(photos(), seed=0).views
    still = by_stability(views, traces(), replace(traces(), means=traces().means * 1.5)).weights
    assert still["means"] < 0.01 < 0.49 < still["deviations"]
    nobody = traces(FEATURES[:0])
    assert by_stability(views, nobody, nobody) == views
    with pytest.raises(ValueError, match="not finite"):
        by_stability(views, traces(), replace(traces(), means=np.full((len(FEATURES), 12), np.nan)))


def test_weights_are_those_of_a_weighted_mean():
    views = choose_views(photos(), seed=0).views
    alone = views.weighing({"embedding": 0.0, "means": 5.0, "deviations": 0.0})
    np.testing.assert_allclose(alone.log_likelihood(traces()), views.means.standing(traces().means, ONE))


def test_known_configurations_are_standardised_by_other_photographs():
    chosen = choose_views(photos(FEATURES[::2]), seed=0).chosen
    views = fit_views(traces(FEATURES[::2]), traces(FEATURES[1::2]), traces(FEATURES[1::2]), chosen, seed=0)
    assert np.median(views.embedding.standing(FEATURES[1::2], ONE)) == pytest.approx(0, abs=1e-9)
    assert np.median(views.embedding.standing(FEATURES[::2], ONE)) > 0, "what was fitted on is likelier"


def seen_in(windows: int, seed: int, photographs: int = 2000) -> Traces:
    """Means over as many windows, which differ within a photograph as much as photographs do."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(photographs, 20)) + random.normal(size=(photographs, windows, 20)).mean(1)
    return replace(traces(rows), patch_counts=np.full(photographs, TOGETHER * windows))


def test_photographs_stand_alike_however_many_windows_they_have():
    """Growth is measured between one window and two; that of eight follows."""
    chosen = choose_views(photos(), seed=0).chosen
    seen = [seen_in(windows, windows) for windows in (1, 2, 4, 8)]
    known = dict.fromkeys(chosen, replace(chosen["embedding"], axes=12, components=1))
    image = fit_views(seen_in(2, seed=9), seen[1], seen[0], known, seed=0)
    standings = [image.embedding.standing(of.embedding, of.patch_counts) for of in seen]
    assert [np.median(rows) for rows in standings] == pytest.approx([0] * 4, abs=0.15)
    assert [np.std(rows) for rows in standings] == pytest.approx([1] * 4, abs=0.25)
    ungrown = replace(image.embedding, growth=Growth())
    assert np.median(ungrown.standing(seen[2].embedding, seen[2].patch_counts)) > 0.5, (
        "more windows would look likelier"
    )


def test_growth_is_what_makes_both_alike_and_needs_photographs_of_several_windows():
    few, many = np.random.default_rng(0).normal(10, 4, 400), np.random.default_rng(1).normal(16, 2, 400)
    one, two = (np.full(400, TOGETHER * windows) for windows in (1, 2))
    found = growth(Likelihoods(many, two), Likelihoods(few, one))
    assert found.rise == pytest.approx(2 * 6 / 4, rel=0.1)
    assert found.narrowing == pytest.approx(2 * 0.5, abs=0.1)
    assert found.narrowing <= 0.9, "of many windows something has to remain"
    assert growth(Likelihoods(many[:99], two[:99]), Likelihoods(few[:99], one[:99])) == Growth()
    assert growth(Likelihoods(many, two), Likelihoods(few, two)) == Growth()


def test_a_refit_takes_growth_over(model):
    known = dict.fromkeys(VIEWS, Growth(1.5, 0.5))
    counts = np.repeat([16, 64], len(FEATURES) // 2)
    stored = replace(photos(), traces=replace(traces(), patch_counts=counts))
    refitted = fit_one_class(stored, stored, patch=model.patch, known=known, seed=0)[0]
    assert all(view.growth == Growth(1.5, 0.5) for view in refitted.image.by_name.values())


@pytest.mark.parametrize("known", [Growth(1.5, 0.6), Growth(2.5, 0.9), Growth()])
def test_photographs_of_several_sizes_are_standardised_as_if_they_were_of_one(known):
    random = np.random.default_rng(0)
    counts = np.resize([12, 16, 17, 40, 64], 5000)
    more = beyond_one(counts)
    nats = 300 + 20 * (random.normal(size=5000) * (1 - known.narrowing * more) + known.rise * more)
    mixture = choose_views(photos(), seed=0).views.embedding.mixture
    view = _view("embedding", mixture, np.ones(20), Likelihoods(nats, counts), known)
    assert (view.median[0], view.spread[0]) == (pytest.approx(300, abs=2), pytest.approx(20, rel=0.1))
    standings = view.standardised(nats, counts)
    for count in np.unique(counts):
        of = standings[counts == count]
        assert (np.median(of), of.std()) == (pytest.approx(0, abs=0.15), pytest.approx(1, abs=0.15))


def test_patches_that_two_windows_share_count_once():
    assert beyond_one(np.array([1, 16, 17, 32, 64])).tolist() == pytest.approx([0, 0, 1 / 17, 1 / 2, 3 / 4])


def test_too_few_photographs_are_refused():
    with pytest.raises(ValueError, match="too few"):
        choose_views(photos(FEATURES[:10]), seed=0)


@pytest.mark.parametrize(
    ("value", "p_value"),
    [
        (0.5, 1 / 5),  # stranger than every calibration photograph
        (1.0, 2 / 5),  # ties count as stranger
        (2.5, 3 / 5),
        (9.0, 5 / 5),
    ],
)
def test_conformal_p_value(value, p_value):
    assert Calibration(np.array([1.0, 2.0, 3.0, 4.0])).p_value(value) == p_value


def test_the_versions_of_a_photograph_share_its_weight():
    two = Calibration(np.array([1.0, 2.0, 3.0, 4.0]), versions=2)
    assert two.photographs == 2
    assert two.p_value(1.5) == (1 + 1 / 2) / 3
    assert two.p_value(0.0) == 1 / 3, "no more is known than of two photographs"


def test_promised_false_positive_rate_holds_out_of_sample():
    """P(p <= alpha) <= alpha over draws of calibration and test; 4000 draws, three standard deviations of slack."""
    alpha, draws = 0.05, 4000
    samples = np.random.default_rng(0).standard_cauchy((draws, 100))  # 99 calibration scores and one test score
    hits = sum(Calibration(np.sort(row[:99])).p_value(row[99]) <= alpha for row in samples)
    assert abs(hits / draws - alpha) < 3 * (alpha / draws) ** 0.5


def test_the_promise_holds_for_photographs_of_several_versions():
    """Versions of a photograph resemble one another: counted as photographs they would promise too much."""
    draws, versions = 4000, 5
    random = np.random.default_rng(0)
    seen = random.standard_cauchy((draws, 40, 1)) + random.normal(size=(draws, 40, versions))

    def accused(alpha: float, counted_as: int) -> float:
        calibrations = (Calibration(np.sort(drawn[:39], axis=None), counted_as) for drawn in seen)
        return np.mean([one.p_value(drawn[39, 0]) <= alpha for one, drawn in zip(calibrations, seen, strict=True)])

    assert 0.025 < accused(0.05, versions) < 0.05 + 3 * (0.05 / draws) ** 0.5
    assert accused(0.01, versions) == 0, "39 photographs are too few for so small a promise"
    assert accused(0.01, 1) > 0.01 + 3 * (0.01 / draws) ** 0.5


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_clopper_pearson_equals_scipys_exact_interval(trials, share):
    successes = round(share * trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, "exact")
    interval = clopper_pearson(successes, trials)
    assert interval.low == pytest.approx(expected.low, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, abs=1e-9)


def test_percentile_has_its_interval():
    position, interval = percentile(np.arange(100.0), 9.5)
    assert position == 10
    assert 4 < interval.low < 10 < interval.high < 18


def test_an_outlier_of_one_head_does_not_silence_the_other():
    fusion = Fusion(0, 1, 1, 1)
    camera_like, ai_like = fusion.fuse(np.array([-1e9, -1e9]), np.array([0.01, 0.99]))
    assert camera_like > ai_like


def test_archive_round_trip_scores_the_same(model):
    again = OneClassModel.from_bytes(model.to_bytes())
    np.testing.assert_array_equal(again.image.log_likelihood(traces()), model.image.log_likelihood(traces()))
    np.testing.assert_array_equal(again.calibration_fused, model.calibration_fused)
    assert again.fusion == model.fusion
    grown = {name: replace(view, growth=Growth(1.5, 0.5)) for name, view in model.image.by_name.items()}
    again = OneClassModel.from_bytes(replace(model, image=Views(**grown)).to_bytes())
    assert [view.growth for view in again.image.by_name.values()] == [Growth(1.5, 0.5)] * 3


def test_strata_are_kept_and_each_answers_for_its_own(model):
    stratified = replace(model, strata=(np.arange(4.0), np.array([]), np.arange(10.0, 29.0)))
    again = OneClassModel.from_bytes(stratified.to_bytes())
    for stratum, kept in zip(stratified.strata, again.strata, strict=True):
        np.testing.assert_array_equal(stratum, kept)
    assert again.p_value(9.0, 0) == 1
    assert again.p_value(9.0, 2) == 1 / 20, "stranger than all of its own stratum, though not of another"
    assert again.p_value(-100.0, 1) == 1, "a stratum that nothing is known of accuses nobody"


def test_an_archive_knows_how_many_versions_each_photograph_has(model):
    stratified = replace(model, strata=(np.arange(4.0),) * 3, versions=2)
    assert OneClassModel.from_bytes(stratified.to_bytes()).photographs_alike == (2, 2, 2)


def test_without_strata_all_calibration_photographs_answer(model):
    assert model.strata == ()
    middle = float(np.median(model.calibration_fused))
    assert model.p_value(middle, 2) == Calibration(model.calibration_fused).p_value(middle)


def test_archive_with_pickled_objects_is_refused(model):
    buffer = io.BytesIO()
    np.savez(buffer, image_mean=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        OneClassModel.from_bytes(buffer.getvalue())


def test_archive_that_lacks_an_array_is_refused():
    buffer = io.BytesIO()
    np.savez(buffer, image_mean=np.zeros(3))
    with pytest.raises(ValueError, match="calibration_fused"):
        OneClassModel.from_bytes(buffer.getvalue())


def test_calibration_photographs_are_not_the_fitted_ones(model):
    """In-sample likelihoods flatter; the calibration ones must be those of the second set."""
    expected = np.sort(model.image.log_likelihood(traces(FEATURES[1::2])))
    np.testing.assert_allclose(model.calibration_log_likelihood, expected)


def test_the_fusion_knows_nothing_of_the_calibration_photographs():
    """Else the promise would not be exact: location and scale are those of photographs fitted on, seen from folds
    without them."""
    patch = fit_mixture(FEATURES, axes=8, components=2, seed=0)
    one, other = (
        fit_one_class(photos(FEATURES[::2]), photos(calibration), patch=patch, seed=0)[0]
        for calibration in (FEATURES[1::2], FEATURES[1::2] * 3)
    )
    assert one.fusion == other.fusion
    assert one.calibration_log_likelihood[0] > other.calibration_log_likelihood[0]
    in_sample = one.image.log_likelihood(traces(FEATURES[::2]))
    assert one.fusion.log_likelihood_location < np.median(in_sample)


@pytest.mark.parametrize("versions", [1, 7])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.5])
def test_the_threshold_of_a_rate_is_where_p_values_reach_it(rate, versions):
    calibration = Calibration(np.sort(np.random.default_rng(3).normal(size=154 * versions)), versions)
    threshold = calibration.threshold(rate)
    assert calibration.p_value(np.nextafter(threshold, -np.inf)) <= rate
    assert calibration.p_value(threshold) > rate


def test_no_threshold_keeps_a_rate_that_the_photographs_are_too_few_for():
    assert Calibration(np.arange(9.0)).threshold(0.05) is None
