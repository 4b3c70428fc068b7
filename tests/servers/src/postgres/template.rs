//! `initdb` takes most of a second; a copy of its result takes a tenth of that.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::account;
use super::binaries::Binaries;
use super::scratch;

/// What `initdb` depends on: the major and the superuser's password (none: no authentication).
type Key = (u32, Option<String>);

static TEMPLATES: LazyLock<Mutex<HashMap<Key, PathBuf>>> = LazyLock::new(Mutex::default);

/// Makes a new data directory at `data`; its superuser is `postgres`.
pub fn make_data_directory(data: &Path, binaries: &Binaries, password: Option<&str>) {
    let template = {
        let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (binaries.major, password.map(str::to_owned));
        templates.entry(key).or_insert_with(|| initdb(binaries, password)).clone()
    };
    let mut command = account::command("cp");
    command.args(["-a", "--reflink=auto"]).arg(template).arg(data);
    account::run(command);
}

fn initdb(binaries: &Binaries, password: Option<&str>) -> PathBuf {
    let template = scratch::fresh("template");
    let mut command = account::command(binaries.program("initdb"));
    command.arg("--pgdata").arg(&template).args([
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]);
    match password {
        None => account::run({
            command.arg("--auth=trust");
            command
        }),
        Some(password) => {
            let file = scratch::fresh("password");
            fs::write(&file, password).expect("write the password's file");
            account::give(&file);
            command.arg("--auth=scram-sha-256").arg("--pwfile").arg(&file);
            account::run(command);
            fs::remove_file(&file).expect("remove the password's file");
        }
    }
    template
}
