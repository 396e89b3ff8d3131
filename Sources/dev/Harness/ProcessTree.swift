import Foundation
import Glibc

/// A process and everything below it, as `/proc` shows them at one moment.
struct ProcessTree {
    let members: [pid_t]
    /// CPU time that each thread has used so far, in nanoseconds.
    ///
    /// From `schedstat`, whose first number is just that: `stat` counts in ticks of 10 ms.
    private let threads: [pid_t: UInt64]

    init(root: pid_t) { self.init(of: [root] + Self.descendants(of: root).map(\.pid)) }

    /// These processes, without what is below them.
    init(of found: [pid_t]) {
        members = found
        var threads: [pid_t: UInt64] = [:]
        for pid in found {
            for thread in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? [] {
                let fields = Self.read("/proc/\(pid)/task/\(thread)/schedstat")?.split(separator: " ")
                if let id = pid_t(thread), let time = fields?.first { threads[id] = UInt64(time) }
            }
        }
        self.threads = threads
    }

    /// Every process below `root` with its parent, parents before their children.
    static func descendants(of root: pid_t) -> [(pid: pid_t, parent: pid_t)] {
        var children: [pid_t: [pid_t]] = [:]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = pid_t(name), let parent = parent(of: pid) else { continue }
            children[parent, default: []].append(pid)
        }
        var found: [(pid: pid_t, parent: pid_t)] = [(root, 0)]
        var next = 0
        while next < found.count {
            let parent = found[next].pid
            found += (children[parent] ?? []).map { ($0, parent) }
            next += 1
        }
        return Array(found.dropFirst())
    }

    /// The name that the kernel shows for a process: 15 bytes of its program's.
    static func name(of pid: pid_t) -> String { read("/proc/\(pid)/comm")?.trimmingCharacters(in: .newlines) ?? "" }

    /// CPU time used since `earlier`, in microseconds; what a thread that has ended since then used is lost.
    func cpuMicroseconds(since earlier: ProcessTree) -> Double {
        threads.reduce(0) { $0 + Double($1.value - min($1.value, earlier.threads[$1.key] ?? 0)) } / 1000
    }

    /// The fourth field of `/proc/PID/stat` (proc(5)); the second, a name in parentheses, may hold anything.
    private static func parent(of pid: pid_t) -> pid_t? {
        guard let text = read("/proc/\(pid)/stat"), let name = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: name)...].split(separator: " ")
        return fields.count > 1 ? pid_t(fields[1]) : nil
    }

    /// Resident memory of one process now, in MiB.
    static func residentMiB(of pid: pid_t) -> Double { memory("VmRSS:", pid) }

    /// The most that it ever was.
    static func peakMiB(of pid: pid_t) -> Double { memory("VmHWM:", pid) }

    private static func memory(_ name: String, _ pid: pid_t) -> Double {
        let line = read("/proc/\(pid)/status")?.split(separator: "\n").first { $0.hasPrefix(name) }
        return (line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Double($0) } ?? 0) / 1024
    }

    static func read(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// How busy the whole machine is, from `/proc/stat`.
struct MachineLoad {
    private let busy: Double
    private let all: Double

    init() {
        let line = ProcessTree.read("/proc/stat")?.split(separator: "\n").first ?? ""
        let ticks = line.split(separator: " ").dropFirst().compactMap { Double($0) }
        // user nice system idle iowait irq softirq steal
        all = ticks.prefix(8).reduce(0, +)
        busy = all - ticks.dropFirst(3).prefix(2).reduce(0, +)
    }

    /// CPU seconds of the whole machine since `earlier`.
    func busySeconds(since earlier: MachineLoad) -> Double { (busy - earlier.busy) / Double(sysconf(Int32(_SC_CLK_TCK))) }

    /// The share of all CPU time since `earlier` that was used, 0…1.
    func share(since earlier: MachineLoad) -> Double { all > earlier.all ? (busy - earlier.busy) / (all - earlier.all) : 0 }
}
