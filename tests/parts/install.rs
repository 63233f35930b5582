//! Where a server's programs are: those of the system, or installed from Debian where this machine permits it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::server::lock;

/// RabbitMQ's own scripts; those of `/usr/sbin` would change the user.
pub fn rabbitmq() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let find = || Some(PathBuf::from("/usr/lib/rabbitmq/bin")).filter(|place| place.join("rabbitmq-server").exists());
    PLACE.get_or_init(|| find_or_install("rabbitmq-server", "RACCORD_TEST_AMQP", find))
}

/// The programs of the newest PostgreSQL here.
pub fn postgres() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let places = versions.map(|version| version.path().join("bin"));
        places.filter(|place| place.join("initdb").exists()).max_by_key(|place| {
            let version = place.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|version| version.parse::<u32>().ok())
        })
    };
    PLACE.get_or_init(|| find_or_install("postgresql", "RACCORD_TEST_POSTGRES", find))
}

/// A Python that can make environments of its own.
pub fn python() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let able = Command::new("python3").args(["-c", "import ensurepip, venv"]).output().ok()?.status.success();
        able.then(|| PathBuf::from("python3"))
    };
    PLACE.get_or_init(|| find_or_install("python3-venv", "RACCORD_TEST_TRYTON", find))
}

/// npm, with a Node.js that is new enough for the shops: Debian's is from its release 13 on.
pub fn npm() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let told = Command::new("node").arg("--version").output().ok()?;
        let major = String::from_utf8_lossy(&told.stdout).trim_start_matches('v').split('.').next()?.parse::<u32>();
        let able = Command::new("npm").arg("--version").output().is_ok_and(|told| told.status.success());
        (able && major.is_ok_and(|major| major >= 20)).then(|| PathBuf::from("npm"))
    };
    PLACE.get_or_init(|| find_or_install("nodejs npm", "RACCORD_TEST_VENDURE or RACCORD_TEST_MEDUSA", find))
}

fn find_or_install(package: &str, variable: &str, find: impl Fn() -> Option<PathBuf>) -> PathBuf {
    if let Some(place) = find() {
        return place;
    }
    let _one_at_a_time = lock("install.lock");
    if let Some(place) = find() {
        return place;
    }
    let why = match install(package) {
        Ok(()) => "Debian's package does not hold what was looked for, or is too old".to_owned(),
        Err(why) => why,
    };
    find().unwrap_or_else(|| {
        panic!(
            "this test needs {package}: {why}.\nInstall it (sudo apt-get install --no-install-recommends {package}), \
             or name a server in {variable} (tests/parts/compose.yaml starts RabbitMQ and PostgreSQL in Docker)."
        )
    })
}

fn install(package: &str) -> Result<(), String> {
    if !rustix::process::getuid().is_root() {
        return Err("it is not installed, and only root can install it".into());
    }
    eprintln!("installing {package} from the system's packages (once)");
    // 101 tells the package's scripts to start nothing: the tests start their own. An existing policy is left alone.
    let script = format!(
        "set -e; command -v apt-get >/dev/null
         policy=/usr/sbin/policy-rc.d
         if [ ! -e $policy ]; then printf '#!/bin/sh\\nexit 101\\n' >$policy; chmod 755 $policy; trap 'rm -f '$policy EXIT; fi
         apt-get update -qq
         DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {package}"
    );
    let done = Command::new("sh").args(["-c", &script]).output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("apt-get could not install it: {}", String::from_utf8_lossy(&done.stderr)))
}
