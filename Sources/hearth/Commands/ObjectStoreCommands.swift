import ArgumentParser
import Client
import Foundation

struct ObjectUsage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "du", abstract: "Show how much buckets hold, by prefix and by tier.",
        discussion: "Counted by a walk through all keys; versions that are not current count for the tiers too.")

    @Argument(help: "BUCKET or BUCKET/KEY, for keys that begin so; all buckets if not given.") var place: S3Place?
    @OptionGroup var connection: Connection

    func run() throws {
        let client = try connection.client()
        let places = try place.map { [$0] } ?? connection.withS3 { try $0.buckets().map { S3Place(bucket: $0.name) } }
        let usages = try places.map { place in
            let query = "bucket=\(pathPart(place.bucket))&prefix=\(pathPart(place.key))" + (self.place == nil ? "" : "&delimiter=%2F")
            return jsonObject(try expect(client.call("GET", "/_hearth/objects/usage", query: query), 200).body)
        }
        if connection.json { return sayJSON(place == nil ? ["buckets": usages] : usages.first ?? [:]) }
        func cells(_ name: String, _ count: [String: Any]) -> [String] {
            [name, "\(count["objects"] ?? 0)", TransferProgress.bytes((count["bytes"] as? NSNumber)?.int64Value ?? 0)]
        }
        var rows: [[String]] = []
        for (place, usage) in zip(places, usages) {
            for prefix in usage["prefixes"] as? [[String: Any]] ?? [] { rows.append(cells(plain(prefix["prefix"] as? String ?? ""), prefix)) }
            rows.append(cells(plain(place.description), usage))
        }
        printTable(["PLACE", "OBJECTS", "SIZE"], rows)
        for usage in usages where place != nil {
            for (tier, count) in (usage["tiers"] as? [String: [String: Any]] ?? [:]).sorted(by: { $0.key > $1.key }) {
                say("\(tier): \(cells("", count)[2]) in \(count["objects"] ?? 0) versions")
            }
            if let uploads = usage["uploads"] as? Int, uploads > 0 { say("\(uploads) upload\(uploads == 1 ? "" : "s") under way") }
        }
    }
}

struct ObjectStats: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats", abstract: "Show what the store takes on disk, by tier, and what compression saves.")

    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("GET", "/_hearth/objects/stats"), 200)
        if connection.json { return printJSON(response.body) }
        let all = jsonObject(response.body)
        printTable(
            ["TIER", "BYTES", "STORED", "FILES", "ON DISK"],
            (all["tiers"] as? [String: [String: Any]] ?? [:]).sorted { $0.key > $1.key }.map { tier, of in
                [tier, size(of, "bytes"), size(of, "stored_bytes"), "\(of["files"] ?? 0)", size(of, "file_bytes")]
            })
        say("\(all["buckets"] ?? 0) buckets, \(all["uploads"] ?? 0) uploads under way, \(size(all, "meta_bytes")) of metadata and small objects")
        say("\(size(all, "saved_bytes")) saved; \(all["demoted"] ?? 0) moved to the cold tier and \(all["promoted"] ?? 0) back since the start")
    }
}

private func size(_ object: [String: Any], _ key: String) -> String {
    TransferProgress.bytes((object[key] as? NSNumber)?.int64Value ?? 0)
}

struct ObjectCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Prove that the store is whole, while it runs.",
        discussion: """
            Reads every chunk and holds it to its checksum, every count to what it counts, and every file to SQLite's own check. Bytes that \
            nothing needs any more are no fault: compact gives them back. Exits with status 1 when something is damaged.
            """)

    @Option(help: "Read no more than so many bytes a second, as in 20M.") var rate: ByteCount?
    @OptionGroup var connection: Connection

    func run() throws {
        let query = rate.map { "rate=\($0.bytes)" } ?? ""
        let response = try expect(connection.client().call("POST", "/_hearth/objects/check", query: query), 200)
        let report = jsonObject(response.body)
        let isClean = report["clean"] as? Bool == true
        if connection.json {
            printJSON(response.body)
        } else {
            for fault in report["faults"] as? [String] ?? [] { say(fault) }
            say(
                "\(isClean ? "clean" : "\(report["fault_count"] ?? 0) faults"): \(report["versions"] ?? 0) versions, \(report["chunks"] ?? 0) chunks, "
                    + "\(size(report, "bytes")) read; \(size(report, "dead_bytes")) to be given back by compaction")
        }
        if !isClean { throw ExitCode(1) }
    }
}

struct ObjectCompact: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact", abstract: "Give back the space of what was removed, now.",
        discussion: "By itself the store does so for files of which less than half is needed.")

    @Option(help: "Rewrite files of which less than this share is needed, above 0 and at most 1.") var live = 1.0
    @OptionGroup var connection: Connection

    func validate() throws {
        guard live > 0, live <= 1 else { throw ValidationError("--live \(live) is not above 0 and at most 1") }
    }

    func run() throws {
        let response = try expect(connection.client().call("POST", "/_hearth/objects/compact", query: "live=\(live)"), 200)
        if connection.json { return printJSON(response.body) }
        let report = jsonObject(response.body)
        say("\(size(report, "bytes_freed")) given back: \(report["files_removed"] ?? 0) files rewritten, \(size(report, "bytes_moved")) moved")
    }
}

struct ObjectBackup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Write all buckets and objects, as they are now, to one file, while the store runs.",
        discussion: """
            The file is a tar archive. To restore: stop the Hearth, tar -xf FILE -C DATA/objects, DATA being a data directory without objects; \
            files cold-*.sqlite belong into objects.cold if that is configured.
            """)

    @Argument(help: "The file; - for standard output.") var file: String
    @OptionGroup var connection: Connection

    func run() throws {
        let part = file + ".hearth-part"
        let descriptor = file == "-" ? STDOUT_FILENO : open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure("\(part) cannot be written: \(String(cString: strerror(errno)))") }
        let count: Int64
        do {
            count = try copy(into: descriptor)
            guard file == "-" || (fsync(descriptor) == 0 && rename(part, file) == 0) else {
                throw Failure("\(file) cannot be written: \(String(cString: strerror(errno)))")
            }
        } catch {
            if file != "-" { unlink(part) }
            throw error
        }
        if file == "-" { return }
        if connection.json { return sayJSON(["file": file, "bytes": count]) }
        say("wrote \(file), \(TransferProgress.bytes(count))")
    }

    private func copy(into descriptor: CInt) throws -> Int64 {
        var count: Int64 = 0
        var problem: Failure?
        let response = try connection.client().call("GET", "/_hearth/objects/backup") { bytes in
            var done = 0
            while done < bytes.count, problem == nil {
                let written = write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
                if written < 0, errno == EINTR { continue }
                if written <= 0 { problem = Failure("\(file) cannot be written: \(String(cString: strerror(errno)))") } else { done += written }
            }
            count += Int64(bytes.count)
        }
        try expect(response, 200)
        if let problem { throw problem }
        guard let length = response.headers["content-length"].flatMap(Int64.init), length == count else {
            throw Failure("the backup broke off: see what hearth serve says, and hearth object check")
        }
        return count
    }
}
