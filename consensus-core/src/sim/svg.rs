//! Space-time diagrams [Lamport78]: a vertical line a node, time runs down, messages slant.
use super::trace::Happening;
use alloc::string::String;
pub(crate) fn draw(_title: &str, _nodes: u16, _happenings: &[Happening]) -> String {
    String::new()
}
