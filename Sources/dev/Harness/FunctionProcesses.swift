import Foundation
import Glibc

/// The processes of one function below a server, told apart by what `/proc` shows of them.
///
///     hearth ── hearth-init ── zygote ── worker …      by fork
///     hearth ── hearth-init ── worker                  by exec
struct FunctionProcesses {
    /// Processes that serve invocations.
    private(set) var workers: [pid_t] = []

    /// - Parameter server: only what it has started is looked at, so that nobody else's worker is ever taken for ours.
    init(of function: String, below server: pid_t) {
        let mark = "AWS_LAMBDA_FUNCTION_NAME=\(function)"
        for (pid, parent) in ProcessTree.descendants(of: server) {
            guard ProcessTree.name(of: pid) != Self.initName else { continue }
            let environment = ProcessTree.read("/proc/\(pid)/environ")?.split(separator: "\0") ?? []
            guard environment.contains(where: { $0 == mark }) else { continue }
            // A forked worker still shows its zygote's environment; only the zygote is hearth-init's own child.
            let isOfZygote = environment.contains("HEARTH_ZYGOTE=1")
            if !isOfZygote || ProcessTree.name(of: parent) != Self.initName { workers.append(pid) }
        }
    }

    private static let initName = "hearth-init"
}

/// Memory of one process or of many, in MB (10⁶ bytes), from `smaps_rollup` (proc(5)).
struct MemoryUse {
    /// In no other process: what would be free if it ended.
    var privateMB = 0.0
    /// Its share of what it shares with others, and what is private.
    var proportionalMB = 0.0

    init(of pids: [pid_t]) {
        for pid in pids {
            for line in ProcessTree.read("/proc/\(pid)/smaps_rollup")?.split(separator: "\n") ?? [] {
                let parts = line.split(whereSeparator: { $0 == " " || $0 == ":" })
                guard parts.count == 3, let kib = Double(parts[1]) else { continue }
                switch parts[0] {
                case "Private_Clean", "Private_Dirty": privateMB += kib * 1024 / 1e6
                case "Pss": proportionalMB += kib * 1024 / 1e6
                default: break
                }
            }
        }
    }

    /// Memory that the machine could still give away, in MB.
    static var availableMB: Double {
        let line = ProcessTree.read("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 1024 / 1e6
    }
}
