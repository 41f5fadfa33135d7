//! Power cuts: a real ext4 in a file is shut down under the program (`FS_IOC_SHUTDOWN`, which forgets everything that was
//! not synced), mounted again, and read. Where the machine does not let us mount, the test says so and does nothing.
//!
//! `SHELFMARK_POWER_CYCLES` sets how often.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::kill::{CREATE, Model, Random, now, number, run, write_and_kill};

const CYCLES: u64 = 3;

/// Shuts a file system down without writing its journal.
const SHUTDOWN: &str = "import fcntl, os, struct, sys; \
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

#[test]
fn acknowledged_statements_survive_power_cuts() {
    let cycles = number("SHELFMARK_POWER_CYCLES").unwrap_or(CYCLES);
    let seed = number("SHELFMARK_KILL_SEED").unwrap_or_else(now);
    println!("SHELFMARK_KILL_SEED={seed}");
    let mut random = Random(seed | 1);
    let directory = tempfile::tempdir().unwrap();
    let Some(mut disk) = Disk::new(directory.path()) else {
        println!("skipped: no ext4 can be made and mounted here");
        return;
    };
    let data = disk.mounted.join("data");
    run(&data, CREATE);
    let mut model = Model::default();
    for cycle in 0..cycles {
        let pause = Duration::from_millis(random.below(400));
        let cut = || assert!(disk.shut_down(), "the file system did not shut down");
        let (sent, acknowledged) =
            write_and_kill(&data, directory.path(), model.next_batch(), pause, cut);
        model.learn(&sent, &acknowledged);
        disk.mount_again();
        model.check(&data, &format!("cut {cycle}, SHELFMARK_KILL_SEED={seed}"));
    }
    println!(
        "{cycles} cuts, {} statements were acknowledged",
        model.acknowledged()
    );
}

/// An ext4 in a file, mounted as long as the value lives.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn new(directory: &Path) -> Option<Self> {
        let disk = Self {
            image: directory.join("image"),
            mounted: directory.join("mounted"),
        };
        std::fs::create_dir(&disk.mounted).unwrap();
        std::fs::File::create(&disk.image)
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let made = succeeds("mkfs.ext4", &[Path::new("-qF"), &disk.image]) && disk.mount();
        // Python makes the call; its first use must not be the one that is timed.
        let can_cut = made && disk.shut_down();
        if can_cut {
            disk.unmount();
        }
        (can_cut && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        succeeds("mount", &[Path::new("-oloop"), &self.image, &self.mounted])
    }

    fn unmount(&self) -> bool {
        succeeds("umount", &[&self.mounted])
    }

    fn shut_down(&self) -> bool {
        succeeds(
            "python3",
            &[Path::new("-c"), Path::new(SHUTDOWN), &self.mounted],
        )
    }

    fn mount_again(&mut self) {
        assert!(self.unmount() && self.mount(), "the disk did not come back");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn succeeds(program: &str, arguments: &[&Path]) -> bool {
    let ended = Command::new(program).args(arguments).output();
    ended.is_ok_and(|output| output.status.success())
}
