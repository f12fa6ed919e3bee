//! The table of measures: keys, order, text fields, registration.

use std::collections::{BTreeMap, HashSet};

use assess::{Direction, Entry, Error, Measure, Measured, PartOf, Scale, measures, register};

#[test]
fn keys_are_unique_and_every_entry_is_complete() {
    let all = Measure::all();
    let keys: HashSet<&str> = all.iter().map(|measure| measure.key()).collect();
    assert_eq!(keys.len(), all.len());
    for measure in all.iter().filter(|measure| !measure.key().starts_with("mine_")) {
        let Entry { key, symbol, label, short, definition, source, .. } = *measure.entry();
        assert!([symbol, label, short, definition, source].iter().all(|text| !text.is_empty()), "{key}");
        assert!(definition.ends_with('.') && label != key, "{key}: {definition}");
        assert_eq!(
            measure.scale() == Scale::Percent,
            measure.scale() == Scale::Percent && measure.maximum() == Some(1.0)
        );
        assert_eq!(key.starts_with("test_"), key.starts_with("test_") && measure.part() == PartOf::Test, "{key}");
        assert_eq!(key.starts_with("target_"), key.starts_with("target_") && measure.part() == PartOf::Target, "{key}");
        assert_eq!(Measure::named(key).unwrap(), *measure);
    }
}

#[test]
fn standard_measures_are_the_columns_of_run_folders_in_their_order() {
    let standard = Measure::standard();
    let keys: Vec<&str> = standard.iter().map(|measure| measure.key()).collect();
    assert_eq!(keys.len(), 34);
    assert_eq!(keys[..4], ["gc", "geometric_collapse", "pairwise_geometric_collapse", "nc"]);
    assert_eq!(keys[33], "target_directional_bound");
    assert!(standard.is_sorted() && standard.iter().all(|measure| measure.is_standard()));
    assert!(!measures::EQUINORM.is_standard() && measures::EQUINORM > measures::TARGET_DIRECTIONAL_BOUND);
}

#[test]
fn labels_directions_and_scales_are_those_of_the_reports() {
    let words = |measure: Measure| (measure.label(), measure.transfer_label(), measure.short());
    assert_eq!(words(measures::GC), ("train GC", "source GC", "GC"));
    assert_eq!(words(measures::TEST_NC), ("test NC", "source test NC", "test NC"));
    assert_eq!(words(measures::TARGET_NC_UNBIASED), ("target NC, unbiased", "target NC, unbiased", "target NC unb."));
    assert_eq!(words(measures::POINCARE_CONSTANT), ("effective Poincaré constant", "effective Poincaré constant", "c"));
    assert_eq!(words(measures::GEOMETRIC_COLLAPSE), ("geometric collapse", "source geometric collapse", "collapse"));
    assert_eq!(measures::TARGET_GC.direction(), Some(Direction::LowerByThePaper));
    assert_eq!(measures::NC.direction(), Some(Direction::Lower));
    assert_eq!(measures::CANTELLI_BOUND.direction(), None);
    assert_eq!(measures::RIDGE_ACCURACY.scale(), Scale::Percent);
    let scale_bound = Measure::standard().into_iter().filter(|measure| !measure.is_scale_free());
    let keys: Vec<&str> = scale_bound.map(|measure| measure.key()).collect();
    assert_eq!(
        keys,
        ["gc", "path_slope", "step_slope", "mean_variance", "mean_inverse_squared_distance", "test_gc", "target_gc"]
    );
}

#[test]
fn measures_are_written_as_their_keys_and_ordered_as_columns() {
    let value = Measured::new(0.5, None, 3);
    let values = BTreeMap::from([(measures::NC, value), (measures::GC, value), (measures::TARGET_NC, value)]);
    let text = serde_json::to_string(&values).unwrap();
    let position = |key: &str| text.find(key).unwrap();
    assert!(position("\"gc\"") < position("\"nc\"") && position("\"nc\"") < position("\"target_nc\""), "{text}");
    assert_eq!(serde_json::from_str::<BTreeMap<Measure, Measured>>(&text).unwrap(), values);
    let error = serde_json::from_str::<Measure>("\"tarjet_nc\"").unwrap_err().to_string();
    assert!(error.contains("unknown measure `tarjet_nc`; did you mean `target_nc`"), "{error}");
}

#[test]
fn an_entry_is_added_once_after_all_others() {
    let before = Measure::all().len();
    let entry =
        Entry { label: "mine", ..Entry::new("mine_added", "A test's measure.", |_| Some(Measured::new(1.0, None, 1))) };
    let measure = register(entry).unwrap();
    assert_eq!(Measure::named("mine_added").unwrap(), measure);
    assert!(Measure::all().len() > before && measure > measures::STEP_SLOPE && measure > measures::SEPARATION);
    assert!(matches!(register(entry), Err(Error::MeasureExists { key }) if key == "mine_added"));
    assert!(matches!(register(Entry { key: "gc", ..entry }), Err(Error::MeasureExists { .. })));
    for key in ["", "Mine", "1st", "a-b", "a b"] {
        assert!(matches!(register(Entry { key, ..entry }), Err(Error::MeasureKey { .. })), "{key}");
    }
    assert!(matches!(Measure::named("zzzz"), Err(Error::UnknownMeasure { nearest, .. }) if nearest.is_empty()));
}
