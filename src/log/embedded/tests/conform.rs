use super::*;
use crate::log::conformance;

#[tokio::test]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    conformance::run(async || {
        made.set(made.get() + 1);
        Embedded::open(Options::new(dir.path().join(made.get().to_string()))).unwrap() as Arc<dyn Log>
    })
    .await;
}

/// Tiny segments and no tail cache: everything goes through files, the index and rolls.
#[tokio::test]
async fn it_conforms_from_files() {
    for short in [false, true] {
        conformance::run(async || {
            let disk = Faulty::new(7);
            disk.set(Faults { short, ..Default::default() });
            open_with(&disk, |options| (options.segment_size, options.tail_bytes) = (600, 0)).unwrap() as Arc<dyn Log>
        })
        .await;
    }
}

#[tokio::test]
async fn it_conforms_with_other_settings() {
    conformance::run(async || {
        open_with(&Faulty::new(7), |options| {
            options.sync = Sync::Interval(std::time::Duration::from_millis(2));
            options.compression = Compression::Lz4;
        })
        .unwrap() as Arc<dyn Log>
    })
    .await;
}
