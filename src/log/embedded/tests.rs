use super::*;
use crate::log::conformance;
use fs::faulty::Faulty;

mod conform {
    use super::*;

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
                disk.set(fs::faulty::Faults { short, ..Default::default() });
                let options = Options { segment_size: 600, tail_bytes: 0, clean_percent: 0, ..Options::new("/log") };
                Embedded::open_on(Arc::new(disk), options).unwrap() as Arc<dyn Log>
            })
            .await;
        }
    }

    #[tokio::test]
    async fn it_conforms_with_other_settings() {
        conformance::run(async || {
            let sync = Sync::Interval(std::time::Duration::from_millis(2));
            let options =
                Options { sync, compression: Compression::Lz4, segment_size: 2000, tail_bytes: 500, ..Options::new("/log") };
            Embedded::open_on(Arc::new(Faulty::new(7)), options).unwrap() as Arc<dyn Log>
        })
        .await;
    }
}
