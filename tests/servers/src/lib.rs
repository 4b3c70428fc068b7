//! Real servers for tests, benchmarks and `millstream demo`: started on free ports, gone when they are dropped, also
//! when the process dies. They panic rather than return errors, as a test would.

pub mod mariadb;
pub mod postgres;
pub mod redis;
