internal import Glibc

/// What the kernel says of a process's memory, in KiB (proc(5)); 0 = unknown.
enum ProcessMemory {
    /// Resident now, also what others share (`statm`: 10 µs).
    static func residentKiB(of pid: pid_t) -> Int {
        let pages = read("statm", of: pid) { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
        return pages * Int(getpagesize()) / 1024
    }

    /// The highest that has been resident (`VmHWM`).
    static func peakKiB(of pid: pid_t) -> Int { line("VmHWM:", in: "status", of: pid) }

    /// Resident now, with a part only of what others share (`smaps_rollup`: up to a millisecond).
    static func proportionalKiB(of pid: pid_t) -> Int { line("Pss:", in: "smaps_rollup", of: pid) }

    private static func line(_ name: String, in file: String, of pid: pid_t) -> Int {
        read(file, of: pid) { text in
            text.split(separator: "\n").first { $0.hasPrefix(name) }.flatMap { Int($0.filter(\.isNumber)) }
        }
    }

    private static func read(_ name: String, of pid: pid_t, _ value: (String) -> Int?) -> Int {
        let file = open("/proc/\(pid)/\(name)", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { room in
            let count = Glibc.read(file, room.baseAddress, room.count)
            guard count > 0 else { return 0 }
            return value(String(decoding: UnsafeRawBufferPointer(rebasing: room[..<count]), as: UTF8.self)) ?? 0
        }
    }
}
