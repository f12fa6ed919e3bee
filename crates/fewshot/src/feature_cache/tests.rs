//! Stored features are read back bit for bit; damaged files and files of other keys are refused.

use super::*;

fn key(weights: &[u8]) -> FeatureKey {
    FeatureKey {
        weights: Fingerprint::of_bytes(weights),
        data: Fingerprint::of_bytes(b"data"),
        preprocessing: Fingerprint::of_bytes(b"preprocessing"),
    }
}

#[test]
fn both_precisions_are_read_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path().join("made/when/missing")).unwrap();
    let narrow = LabelledFeatures::from_f32(vec![0.1, -2.5, 3e-20, 7.0, 8.0, 9.0], 3, vec![4, 9]).unwrap();
    let wide = LabelledFeatures::from_f64(vec![0.1, 1e-300, -3.0], 1, vec![1, 2, 3]).unwrap();
    let centred = narrow.clone().with_base_mean(vec![1.0, 2.0, 0.3]).unwrap();
    for (weights, features) in [(b"a", &narrow), (b"b", &wide), (b"c", &centred)] {
        assert_eq!(cache.get(&key(weights)).unwrap(), None);
        cache.put(&key(weights), features).unwrap();
        assert_eq!(cache.get(&key(weights)).unwrap().as_ref(), Some(features));
    }
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 3, "no partial file is left");
}

#[test]
fn damaged_files_and_files_of_other_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let features = LabelledFeatures::from_f32(vec![1.0; 64], 4, (0..16).collect()).unwrap();
    cache.put(&key(b"a"), &features).unwrap();
    let path = cache.path(&key(b"a"));
    let whole = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        matches!(cache.get(&key(b"a")), Err(Error::CacheEntry { .. }))
    };
    assert!(refused(&whole[..whole.len() - 1]), "truncated");
    assert!(refused(&whole[..5]) && refused(b""), "no header");
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(refused(&flipped), "one bit");
    fs::copy(&path, cache.path(&key(b"b"))).unwrap();
    fs::write(cache.path(&key(b"b")), &whole).unwrap();
    assert!(matches!(cache.get(&key(b"b")), Err(Error::CacheEntry { .. })), "the file of another key");
}

#[test]
fn a_failed_computation_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path()).unwrap();
    let failed = cache.get_or_insert_with(&key(b"a"), || Err(Error::NoSamples));
    assert!(matches!(failed, Err(Error::NoSamples)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(matches!(FeatureCache::open("/dev/null/cache"), Err(Error::Io { .. })));
    assert!(matches!(Fingerprint::of_file(Path::new("/no/such/file")), Err(Error::Io { .. })));
    fs::write(folder.path().join("weights"), b"abc").unwrap();
    assert_eq!(Fingerprint::of_file(&folder.path().join("weights")).unwrap(), Fingerprint::of_bytes(b"abc"));
}
