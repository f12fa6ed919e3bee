//! Labelled image sets (embedded glyphs, Hub, local files) as seeded, normalised batches with class splits.
