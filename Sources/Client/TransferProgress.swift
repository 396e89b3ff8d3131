/// What a transfer has done so far, on one line.
package struct TransferProgress: Sendable {
    package var name: String
    /// nil: it is not known.
    package var total: Int64?
    package var done: Int64 = 0
    /// Of `done`: was there already from an earlier try.
    package var resumed: Int64 = 0

    package init(name: String, total: Int64?) {
        self.name = name
        self.total = total
    }

    /// `notes.iso [##########··········]  50 %  1.5 of 3.0 GiB  310.2 MiB/s  5 s left`
    package func line(afterMilliseconds elapsed: Int64, columns: Int) -> String {
        let rate = elapsed > 0 ? Double(done - resumed) * 1000 / Double(elapsed) : 0
        var parts: [String] = []
        if let total {
            let share = total == 0 ? 1 : Double(min(done, total)) / Double(total)
            let filled = Int(share * 20)
            parts.append("[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: 20 - filled))]")
            parts.append("\(Int(share * 100)) %")
            parts.append("\(Self.bytes(done)) of \(Self.bytes(total))")
        } else {
            parts.append(Self.bytes(done))
        }
        parts.append("\(Self.bytes(Int64(rate)))/s")
        if let total, rate > 0, done < total { parts.append("\(Int((Double(total - done) / rate).rounded(.up))) s left") }
        let rest = parts.joined(separator: "  ")
        let room = max(0, columns - rest.count - 2)
        let shown = name.count <= room ? name : room > 1 ? "…" + name.suffix(room - 1) : ""
        return String((shown.isEmpty ? rest : "\(shown)  \(rest)").prefix(max(1, columns)))
    }

    /// With one digit behind the point from a KiB on.
    package static func bytes(_ count: Int64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        var value = Double(count) / 1024
        for unit in ["KiB", "MiB", "GiB"] {
            if value < 1023.95 { return "\(tenths(value)) \(unit)" }
            value /= 1024
        }
        return "\(tenths(value)) TiB"
    }

    private static func tenths(_ value: Double) -> String {
        let all = Int((value * 10).rounded())
        return "\(all / 10).\(all % 10)"
    }
}
