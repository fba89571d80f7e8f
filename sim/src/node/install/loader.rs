//! A program with its own libraries and its own loader in one folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{InstallError, create_dir, run_command, write};

/// What differs between processor architectures.
pub(super) struct Target {
    /// Debian's name of the architecture.
    pub(super) architecture: &'static str,
    /// The folder of its libraries.
    multiarch: &'static str,
    /// The file name of its loader.
    loader: &'static str,
}

impl Target {
    pub(super) fn of_this_machine() -> Result<Self, InstallError> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Ok(Self {
                architecture: "amd64",
                multiarch: "x86_64-linux-gnu",
                loader: "ld-linux-x86-64.so.2",
            }),
            ("linux", "aarch64") => Ok(Self {
                architecture: "arm64",
                multiarch: "aarch64-linux-gnu",
                loader: "ld-linux-aarch64.so.1",
            }),
            (system, processor) => Err(InstallError::Unsupported(format!(
                "this is {system} on {processor}, and a node is packaged for Debian on x86_64 \
                 and aarch64"
            ))),
        }
    }
}

/// Copies the program out of the unpacked packages with exactly the libraries that its loader
/// names, and writes the wrapper that starts it.
pub(super) fn assemble(root: &Path, built: &Path, target: &Target) -> Result<(), InstallError> {
    let libraries = root.join("usr/lib").join(target.multiarch);
    let loader = libraries.join(target.loader);
    let program = root.join("usr/bin/bitcoind");
    let listing = run_command(
        Command::new(&loader)
            .args(["--inhibit-cache", "--library-path"])
            .arg(&libraries)
            .arg("--list")
            .arg(&program),
    )?;
    for folder in ["bin", "lib", "libexec"] {
        create_dir(&built.join(folder))?;
    }
    let mut files = loaded_libraries(&listing)?;
    files.push(loader);
    for file in files {
        if !file.starts_with(root) {
            return Err(InstallError::Answer(format!(
                "the node would load {}, which is the machine's and not its own",
                file.display()
            )));
        }
        copy(&file, &built.join("lib").join(file.file_name().unwrap_or_default()))?;
    }
    copy(&program, &built.join("libexec/bitcoind"))?;
    let path = built.join("bin/bitcoind");
    write(&path, wrapper(target.loader).as_bytes())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .map_err(|source| InstallError::Write { path, source })
}

/// `exec` keeps the process id, so signals and waiting reach the node itself.
fn wrapper(loader: &str) -> String {
    format!(
        "#!/bin/sh\n\
         node=${{0%/*}}/..\n\
         exec \"$node/lib/{loader}\" --inhibit-cache --argv0 bitcoind --library-path \"$node/lib\" \
         \"$node/libexec/bitcoind\" \"$@\"\n"
    )
}

/// The files in a loader's listing: `name => path (address)`.
fn loaded_libraries(listing: &str) -> Result<Vec<PathBuf>, InstallError> {
    let mut files = Vec::new();
    for line in listing.lines() {
        let Some((name, place)) = line.split_once(" => ") else { continue };
        if place.starts_with("not found") {
            return Err(InstallError::Answer(format!("no package has {}", name.trim())));
        }
        let path = place.rsplit_once(" (").map_or(place, |(path, _)| path);
        files.push(PathBuf::from(path.trim()));
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<(), InstallError> {
    std::fs::copy(from, to)
        .map(drop)
        .map_err(|source| InstallError::Write { path: to.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_loaders_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ff948f4c000)\n\
                       \tlibzmq.so.5 => /r/usr/lib/libzmq.so.5 (0x00007ff948e7e000)\n\
                       \t/lib64/ld.so.2 => /r/my lib/ld.so.2 (0x00007ff948f4e000)\n";
        assert_eq!(
            loaded_libraries(listing).unwrap(),
            [PathBuf::from("/r/usr/lib/libzmq.so.5"), PathBuf::from("/r/my lib/ld.so.2")]
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = loaded_libraries("\tlibx.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().starts_with("no package has libx.so.1"), "{error}");
    }

    #[test]
    fn the_wrapper_becomes_the_node() {
        let text = wrapper("ld.so");
        assert!(text.starts_with("#!/bin/sh\n"));
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("exec ") && last.ends_with("\"$@\""), "{last}");
        assert!(last.contains("--inhibit-cache --argv0 bitcoind"), "{last}");
    }
}
