//! Snapshots [Ongaro14 §5].
