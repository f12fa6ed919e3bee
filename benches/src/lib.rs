//! What the benchmark targets share: the allocator and the criterion settings.
