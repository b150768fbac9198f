//! `cargo xtask image`: builds a stand-in for the official `postgres` image from the distribution's packages.
//!
//! Not every contributor's machine reaches a registry of images, but one that reaches a Debian mirror can still run the
//! tests on Docker. The image takes the same variables, init folder and arguments as the official one as far as
//! `image/entrypoint.sh` says. It is deliberately not an image for production: no JIT, no locales but `C.UTF-8`, and no
//! updates other than a rebuild.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

/// The image's name, unless `--name` says otherwise; the tag is PostgreSQL's major version.
pub(crate) const NAME: &str = "db-postgres";

const ENTRYPOINT: &str = include_str!("../image/entrypoint.sh");

/// Keeps the packages from creating a cluster and starting a server inside the folder while they are set up, and from
/// unpacking what is removed anyway. There is nothing to lose in a crash, hence the unsafe writes.
const BEFORE_SETUP: [(&str, &str, u32); 3] = [
    ("etc/postgresql-common/createcluster.d/image.conf", "create_main_cluster = false\n", 0o644),
    ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755),
    (
        "etc/dpkg/dpkg.cfg.d/image",
        "force-unsafe-io\n\
         path-exclude=/usr/share/doc/*\n\
         path-exclude=/usr/share/info/*\n\
         path-exclude=/usr/share/locale/*\n\
         path-exclude=/usr/share/man/*\n",
        0o644,
    ),
];

/// Runs inside the new root. The JIT goes because LLVM is larger than the rest of the image; the server does without it.
const AFTER_SETUP: &str = r#"
rm -rf /usr/sbin/policy-rc.d /etc/postgresql-common/createcluster.d/image.conf
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /tmp/*
rm -rf /usr/share/doc/* /usr/share/info/* /usr/share/locale/* /usr/share/man/*
rm -rf /usr/lib/*/libLLVM* /usr/lib/llvm-* /usr/lib/postgresql/*/lib/llvmjit* /usr/lib/postgresql/*/lib/bitcode
sed -i "s/^#\?listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/*/postgresql.conf.sample
install -d /docker-entrypoint-initdb.d
install -d -o postgres -g postgres -m 3775 /var/run/postgresql
install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data
"#;

/// Builds a stand-in for the official postgres image from the distribution's packages (as root, with debootstrap)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PostgreSQL's major version; becomes the image's tag
    #[arg(long, value_enum, default_value_t = Pg::V15)]
    pub(crate) pg: Pg,
    /// The image's name
    #[arg(long, default_value = NAME)]
    pub(crate) name: String,
    /// Build even if the image exists, and replace it
    #[arg(long)]
    pub(crate) rebuild: bool,
}

/// The versions for which a Debian release has packages.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Pg {
    /// From bookworm.
    #[value(name = "15")]
    V15,
    /// From trixie.
    #[value(name = "17")]
    V17,
}

impl Pg {
    fn major(self) -> u8 {
        match self {
            Self::V15 => 15,
            Self::V17 => 17,
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V15 => "bookworm",
            Self::V17 => "trixie",
        }
    }
}

/// Builds the image, unless it exists already.
pub(crate) fn run(args: Args) -> Result<()> {
    let Args { pg, name, rebuild } = args;
    let image = format!("{name}:{}", pg.major());

    docker(["version", "--format", "{{.Server.Version}}"]).context("the Docker engine cannot be used")?;
    let previous = image_id(&image)?;
    if previous.is_some() && !rebuild {
        println!("{image} exists; --rebuild replaces it");
        return Ok(());
    }
    ensure!(fs::metadata("/proc/self")?.uid() == 0, "debootstrap needs root: run `sudo cargo xtask image`");
    output(Command::new("debootstrap").arg("--version"), "debootstrap")?;

    let started = Instant::now();
    let work = WorkDir::create(pg)?;
    println!("building {image} from Debian {} in {}", pg.suite(), work.root.display());
    bootstrap(pg, &work)?;
    finish(&work.root)?;
    let unnamed = import(pg, &work.root)?;
    let tried =
        docker(["run", "--rm", &unnamed, "postgres", "--version"]).context("the new image does not run");
    let named = tried.and_then(|version| name_image(&unnamed, &image).map(|()| version));
    if named.is_err() {
        let _ = docker(["image", "rm", &unnamed]);
    }
    let version = named?;
    if let Some(previous) = previous.filter(|id| image_id(&image).is_ok_and(|new| new.as_ref() != Some(id))) {
        // Fails while a container uses it; what is left then goes with `docker image prune`.
        let _ = docker(["image", "rm", &previous]);
    }
    println!("{image}: {version}, built in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Unpacks and sets up the packages.
///
/// In two steps, because the files of `BEFORE_SETUP` must be there before any package is set up.
fn bootstrap(pg: Pg, work: &WorkDir) -> Result<()> {
    let include = format!("--include=postgresql-{}", pg.major());
    let mut unpack = Command::new("debootstrap");
    unpack.args(["--foreign", "--variant=minbase", &include, pg.suite()]).arg(&work.root);
    logged(unpack, work, "unpack")?;

    for (path, content, mode) in BEFORE_SETUP {
        write(&work.root.join(path), content, mode)?;
    }
    let mut set_up = Command::new("chroot");
    set_up.arg(&work.root).args(["/debootstrap/debootstrap", "--second-stage"]);
    logged(set_up, work, "set up")
}

fn finish(root: &Path) -> Result<()> {
    output(Command::new("chroot").arg(root).args(["/bin/sh", "-euc", AFTER_SETUP]), "coreutils")
        .context("could not trim the image")?;
    write(&root.join("usr/local/bin/docker-entrypoint.sh"), ENTRYPOINT, 0o755)
}

/// Packs the folder into an image without a name and returns its id.
fn import(pg: Pg, root: &Path) -> Result<String> {
    let path = format!(
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/lib/postgresql/{}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        pg.major()
    );
    let changes = [
        &*path,
        "ENV LANG=C.UTF-8",
        "ENV PGDATA=/var/lib/postgresql/data",
        "VOLUME /var/lib/postgresql/data",
        "EXPOSE 5432",
        r#"ENTRYPOINT ["docker-entrypoint.sh"]"#,
        r#"CMD ["postgres"]"#,
    ];
    let mut tar = Command::new("tar")
        .args(["--create", "--numeric-owner", "--one-file-system", "--exclude=./dev/*", "--directory"])
        .arg(root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start `tar`")?;
    let archive = tar.stdout.take().context("tar has no output")?;
    // A statement of its own: the command holds the pipe, and tar would wait for ever for a reader if docker failed.
    let imported = docker_from(archive, changes);
    let packed = tar.wait()?;
    let unnamed = imported.context("could not import the image")?;
    ensure!(packed.success(), "`tar` failed with {packed}");
    Ok(unnamed)
}

/// Gives the imported image its name, as the last step, and the one setting that `docker import` cannot make.
fn name_image(unnamed: &str, image: &str) -> Result<()> {
    // SIGINT is PostgreSQL's fast shutdown; on the default SIGTERM it would wait for its clients until Docker kills it.
    // `docker commit` takes over what the container was created with.
    let container = docker(["create", "--stop-signal", "SIGINT", unnamed])?;
    let committed = docker(["commit", &container, image]);
    docker(["rm", "--volumes", &container])?;
    committed?;
    Ok(())
}

fn docker_from(archive: ChildStdout, changes: [&str; 7]) -> Result<String> {
    let mut import = Command::new("docker");
    import.arg("import").args(changes.iter().flat_map(|change| ["--change", change])).arg("-");
    output(import.stdin(archive), "docker.io")
}

fn image_id(image: &str) -> Result<Option<String>> {
    let filter = format!("reference={image}");
    let ids = docker(["image", "ls", "--quiet", "--filter", &filter])?;
    Ok(ids.lines().next().map(str::to_owned))
}

fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    write().with_context(|| format!("could not write {}", path.display()))
}

fn docker<const N: usize>(args: [&str; N]) -> Result<String> {
    output(Command::new("docker").args(args), "docker.io")
}

/// Runs a command and returns what it printed; the error carries its standard error or the package that has the program.
fn output(command: &mut Command, package: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            bail!("`{program}` is not installed: run `apt-get install {package}`")
        }
        Err(e) => return Err(e).with_context(|| format!("could not start `{program}`")),
    };
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` failed with {}: {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs one of the long steps, whose hundreds of lines are only shown, shortened, when it fails.
fn logged(mut command: Command, work: &WorkDir, step: &str) -> Result<()> {
    print!("  {step} ... ");
    io::stdout().flush()?;
    let started = Instant::now();
    let log = File::create(&work.log)?;
    let status = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        .status()
        .with_context(|| format!("could not start {}", command.get_program().display()))?;
    println!("{} s", started.elapsed().as_secs());
    if !status.success() {
        let log = fs::read_to_string(&work.log)?;
        let lines: Vec<_> = log.lines().collect();
        bail!("{step}: failed with {status}:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
    }
    Ok(())
}

/// The folder in which an image grows; removed when it is dropped, or by the next build if this one is killed.
struct WorkDir {
    root: PathBuf,
    log: PathBuf,
    _lock: File,
}

impl WorkDir {
    fn create(pg: Pg) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
        let parent = target.join("image");
        fs::create_dir_all(&parent).with_context(|| format!("could not create {}", parent.display()))?;
        let parent = parent.canonicalize()?;
        let lock = File::create(parent.join(format!("{}.lock", pg.suite())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another build works in {}", parent.display()),
            Err(TryLockError::Error(e)) => return Err(e).context("could not lock the work folder"),
        }
        let work = Self {
            root: parent.join(pg.suite()),
            log: parent.join(format!("{}.log", pg.suite())),
            _lock: lock,
        };
        work.clear()?;
        Ok(work)
    }

    fn clear(&self) -> Result<()> {
        for mount in ["proc", "sys"] {
            // A build that was killed leaves them mounted; usually there is nothing to do, and that is an error to umount.
            let _ = Command::new("umount").arg(self.root.join(mount)).stderr(Stdio::null()).status();
        }
        output(
            Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.root).arg(&self.log),
            "coreutils",
        )?;
        Ok(())
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(e) = self.clear() {
            eprintln!("could not remove {}: {e:#}", self.root.display());
        }
    }
}
