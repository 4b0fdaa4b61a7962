//! What the files of the names do, between real processes: a test binary that runs itself again.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::*;

/// Tells a process of this test binary which database it is for.
const DATABASE: &str = "CANDLESTORE_TEST_DATABASE";

fn database() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("candles.db");
    File::create(&path).unwrap();
    (folder, path)
}

fn lock_file(database: &Path) -> PathBuf {
    beside::path(database, "-candlestore-job-a")
}

fn taken(names: &Names) -> Box<dyn NameHold> {
    match names.take("a").unwrap() {
        Taking::Taken(hold) => hold,
        Taking::Held { by } => panic!("held by {by:?}"),
    }
}

fn holder(names: &Names) -> Option<u32> {
    match names.take("a").unwrap() {
        Taking::Taken(_) => panic!("the name is free"),
        Taking::Held { by } => by,
    }
}

fn refusal(names: &Names, name: &str) -> StoreError {
    match names.take(name) {
        Err(error) => error,
        Ok(_) => panic!("{name} was not refused"),
    }
}

fn own() -> Option<u32> {
    Some(std::process::id())
}

/// Runs one test of this file in another process, as what it is there.
fn elsewhere(test: &str, database: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("engine::sqlite::exclusive::tests::{test}"))
        .env(DATABASE, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

#[test]
fn a_killed_process_has_its_names_no_more() {
    if let Some(database) = std::env::var_os(DATABASE) {
        let _hold = taken(&Names::beside(Path::new(&database)));
        println!("\nholds it");
        // Until it is killed, or the test that has started it has failed.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let (mut child, said) = elsewhere("a_killed_process_has_its_names_no_more", &database);
    let held = said.lines().any(|line| line.unwrap() == "holds it");
    assert!(held, "it has not taken the name");
    assert_eq!(holder(&names), Some(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lock_file(&database).exists());
    let hold = taken(&names);
    assert_eq!(holder(&names), own());
    assert!(hold.give_back());
    assert!(!lock_file(&database).exists());
}

#[test]
fn processes_that_take_and_give_back_never_have_a_name_together() {
    const PROCESSES: usize = 4;
    const TURNS: u32 = 1_000;
    const TEST: &str = "processes_that_take_and_give_back_never_have_a_name_together";
    if let Some(database) = std::env::var_os(DATABASE) {
        let database = Path::new(&database);
        let marker = database.with_extension("held");
        let names = Names::beside(database);
        let mut turns = 0;
        while turns < TURNS {
            let Taking::Taken(hold) = names.take("a").unwrap() else {
                std::thread::yield_now();
                continue;
            };
            let mark = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&marker);
            assert!(mark.is_ok(), "two have it: {mark:?}");
            std::fs::remove_file(&marker).unwrap();
            turns += 1;
            if turns % 2 == 0 {
                hold.give_back();
            }
        }
        return;
    }
    let (_folder, database) = database();
    let started: Vec<_> = (0..PROCESSES).map(|_| elsewhere(TEST, &database)).collect();
    for (mut child, mut said) in started {
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }
    assert!(!lock_file(&database).exists());
}

#[test]
fn all_paths_to_a_database_lead_to_the_same_names_also_once_a_link_leads_elsewhere() {
    let (folder, database) = database();
    let link = folder.path().join("link.db");
    symlink(&database, &link).unwrap();
    let names = Names::beside(&link);
    names.find_database();
    let hold = taken(&Names::beside(&database));
    assert_eq!(holder(&names), own());
    let other = folder.path().join("other.db");
    File::create(&other).unwrap();
    std::fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    assert_eq!(holder(&names), own());
    assert!(hold.give_back());
    assert!(!taken(&Names::beside(&link)).give_back());
}

#[test]
fn a_file_that_somebody_has_deleted_or_replaced_is_not_taken_for_another_holder_s() {
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let orphan = taken(&names);
    std::fs::remove_file(lock_file(&database)).unwrap();
    let hold = taken(&names);
    assert!(!orphan.give_back());
    assert_eq!(holder(&names), own(), "the file of the second was removed");
    assert!(hold.give_back());
    assert!(!lock_file(&database).exists());
}

#[test]
fn what_a_killed_holder_has_written_is_not_told_of_the_next_one() {
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let path = lock_file(&database);
    let stale = format!("4711 {}\n{}", pid_space(), "\0".repeat(200));
    for left in ["", "4711", &stale] {
        std::fs::write(&path, left).unwrap();
        let hold = taken(&names);
        assert_eq!(holder(&names), own());
        assert!(hold.give_back());
        std::fs::write(&path, left).unwrap();
        assert!(
            !taken(&names).give_back(),
            "the mark was left by somebody else"
        );
    }
}

#[test]
fn who_holds_a_name_is_unknown_where_it_cannot_be_read() {
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let hold = taken(&names);
    for told in [
        "",
        "4711",
        "what else?\n",
        "4711 pid:[1]\n",
        "\n",
        "\u{0}\n",
        "x y z",
    ] {
        std::fs::write(lock_file(&database), told).unwrap();
        assert_eq!(holder(&names), None, "{told:?}");
    }
    assert!(hold.give_back());
}

#[test]
fn asking_again_and_again_lets_the_file_stay_small() {
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let _hold = taken(&names);
    for _ in 0..100 {
        assert_eq!(holder(&names), own());
    }
    assert_eq!(
        std::fs::metadata(lock_file(&database)).unwrap().len(),
        ASKED
    );
}

#[test]
fn what_stands_in_the_file_s_place_is_left_alone_and_told() {
    let (folder, database) = database();
    let names = Names::beside(&database);
    let path = lock_file(&database);
    std::fs::create_dir(&path).unwrap();
    let error = refusal(&names, "a");
    assert_eq!(error.code, Code::Permission, "{error}");
    assert!(
        error.message.contains("candles.db-candlestore-job-a"),
        "{error}"
    );
    std::fs::remove_dir(&path).unwrap();

    let precious = folder.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    symlink(&precious, &path).unwrap();
    assert_eq!(refusal(&names, "a").code, Code::Permission);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();

    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert_eq!(refusal(&names, "a").code, Code::Permission);
    std::fs::remove_file(&path).unwrap();
    assert!(!taken(&names).give_back());
}

#[test]
fn a_database_that_is_gone_has_no_names_but_those_that_are_held_can_be_given_back() {
    let (folder, database) = database();
    let names = Names::beside(&database);
    let hold = taken(&names);
    let moved = folder.path().join("moved.db");
    std::fs::rename(&database, &moved).unwrap();
    let error = refusal(&names, "a");
    assert_eq!(error.code, Code::NotFound, "{error}");
    assert!(!hold.give_back());
    assert!(!lock_file(&database).exists());
    std::fs::rename(&moved, &database).unwrap();
    let hold = taken(&names);
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path(), elsewhere.path().join("folder")).unwrap();
    assert_eq!(refusal(&names, "a").code, Code::NotFound);
    assert!(!hold.give_back());
    assert!(!taken(&Names::beside(&elsewhere.path().join("folder/candles.db"))).give_back());
}

#[test]
fn a_folder_that_may_not_be_written_is_told_as_such() {
    let (folder, database) = database();
    let names = Names::beside(&database);
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    // Nothing is forbidden to root.
    let is_root = File::create(folder.path().join("probe")).is_ok();
    if !is_root {
        let error = refusal(&names, "a");
        assert_eq!(error.code, Code::Permission, "{error}");
    }
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(!taken(&names).give_back());
}

#[test]
fn each_cause_has_its_code() {
    let (_folder, database) = database();
    let code = |cause: i32| {
        let path = lock_file(&database);
        refused("a", &path, &io::Error::from_raw_os_error(cause)).code
    };
    assert_eq!(code(libc::EACCES), Code::Permission);
    assert_eq!(code(libc::EROFS), Code::Permission);
    assert_eq!(code(libc::ENOSPC), Code::DiskFull);
    assert_eq!(code(libc::EDQUOT), Code::DiskFull);
    assert_eq!(code(libc::ENOENT), Code::NotFound);
    assert_eq!(code(libc::ENOLCK), Code::IoError);
    assert_eq!(code(libc::EMFILE), Code::IoError);
    let too_long = refusal(&Names::beside(&database), &":".repeat(80));
    assert_eq!(too_long.code, Code::InvalidArgument, "{too_long}");
}

#[test]
fn a_forked_process_does_not_give_its_parents_names_back() {
    let (_folder, database) = database();
    let names = Names::beside(&database);
    let hold = taken(&names);
    // What drop does in a child that has the same open file.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(lock_file(&database))
        .unwrap();
    drop(Hold {
        file: Some(file),
        path: lock_file(&database),
        process: 0,
    });
    assert!(lock_file(&database).exists());
    assert_eq!(holder(&names), own());
    assert!(hold.give_back());
}

#[test]
fn a_process_that_is_just_being_started_with_the_open_file_holds_up_nobody() {
    let (_folder, database) = database();
    let path = lock_file(&database);
    let file = beside::open(&database, &path).unwrap();
    let of_child = file.try_clone().unwrap();
    file.try_lock().unwrap();
    // The file cannot be removed, so the next one meets it.
    let hold = Hold {
        file: Some(file),
        path: path.join("not there"),
        process: std::process::id(),
    };
    drop(hold);
    let next = taken(&Names::beside(&database));
    drop(of_child);
    assert_eq!(holder(&Names::beside(&database)), own());
    assert!(next.give_back());
}
