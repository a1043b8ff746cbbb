//! A cloud's way of spelling the hub: the Dialect trait and the values that cross it.
