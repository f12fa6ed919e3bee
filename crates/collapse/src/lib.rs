//! Neural-collapse measures (CDNV, geometric collapse, NC1 to NC4) from one pass over labelled features.
