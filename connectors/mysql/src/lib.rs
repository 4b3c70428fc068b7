//! The MySQL and MariaDB sink.
