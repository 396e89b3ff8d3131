/// The machine's clocks, read together.
package struct DiskTime: Equatable, Sendable {
    /// Milliseconds since 1970.
    package var wall: UInt64
    /// Milliseconds since the machine started, sleep included.
    package var uptime: UInt64
    /// Names this run of the machine: the kernel makes a new name at each start.
    package var machineRun: String

    package init(wall: UInt64, uptime: UInt64, machineRun: String) {
        self.wall = wall
        self.uptime = uptime
        self.machineRun = machineRun
    }
}

/// The clock by which lives on disk are measured, in milliseconds: the wall clock, except that it never goes back and never stands still.
///
/// So nothing lives longer because somebody set the clock. (Set forward, everything ends early; that is allowed.)
struct LifeClock: Equatable {
    /// What it showed, and when; kept in the file.
    struct Stamp: Equatable, Sendable {
        var life: UInt64
        var uptime: UInt64
        var machineRun: String
    }

    private(set) var stamp: Stamp
    /// Nobody knows how much time has passed since the file was last written: nothing with an end may be taken from it.
    let hasLostTime: Bool

    init(saved: Stamp?, at time: DiskTime) {
        var life = time.wall
        var hasLostTime = false
        if let saved {
            if saved.machineRun == time.machineRun, time.uptime >= saved.uptime {
                life = max(life, saved.life + (time.uptime - saved.uptime))
            } else {
                // a second is what time services correct without anybody noticing
                hasLostTime = time.wall + 1000 < saved.life
            }
        }
        self.hasLostTime = hasLostTime
        stamp = Stamp(life: life, uptime: time.uptime, machineRun: time.machineRun)
    }

    mutating func now(_ time: DiskTime) -> UInt64 {
        let passed = time.uptime > stamp.uptime ? time.uptime - stamp.uptime : 0
        stamp.life = max(stamp.life + passed, time.wall)
        stamp.uptime += passed
        return stamp.life
    }
}
