//! The statements of steps, in a system that is played.
