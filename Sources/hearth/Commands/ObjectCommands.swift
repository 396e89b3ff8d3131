import ArgumentParser
import Client
import Foundation

/// `hearth object …`: buckets and objects, as S3 has them.
struct ObjectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "object", abstract: "List, send, fetch and remove objects; check, compact and back up their store.",
        discussion: "An object is named BUCKET/KEY or s3://BUCKET/KEY; - is standard input or output.",
        subcommands: [
            ObjectList.self, ObjectPut.self, ObjectGet.self, ObjectCat.self, ObjectRemove.self, BucketMake.self, BucketRemove.self,
            ObjectUsage.self, ObjectStats.self, ObjectCheck.self, ObjectCompact.self, ObjectBackup.self,
        ])
}

/// A bucket or an object on the command line.
extension S3Place: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension Connection {
    /// Runs calls of S3; what the server refuses is told as people would say it.
    func withS3<T>(_ place: S3Place? = nil, _ body: (S3Client) throws -> T) throws -> T {
        let client = try client()
        do { return try body(client.s3) } catch let error as ClientError {
            switch error.code {
            case "NoSuchBucket": throw Failure("there is no bucket \(place?.bucket ?? ""): see hearth object ls, or make it with hearth object mb")
            case "NoSuchKey": throw Failure("there is no object \(place?.description ?? ""): see hearth object ls")
            default: throw client.failure(error)
            }
        }
    }
}

struct ObjectList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List buckets, or what is in one.",
        discussion: "Keys that begin with KEY; without --recursive only up to the next slash.")

    @Argument(help: "BUCKET or BUCKET/KEY; all buckets if not given.") var place: S3Place?
    @Flag(name: [.short, .long], help: "All keys, not only those up to the next slash.") var recursive = false
    @Flag(name: [.short, .long], help: "With storage class and ETag.") var long = false
    @Flag(help: "All versions and delete markers.") var versions = false
    @OptionGroup var connection: Connection

    func run() throws {
        try connection.withS3(place) { client in
            guard let place else { return try listBuckets(client) }
            var all: [[String: Any]] = []
            try client.eachPage { (next) throws(ClientError) in
                versions ? try client.listVersions(place, after: next) : try client.list(place, delimiter: recursive ? "" : "/", after: next)
            } _: { page in
                if connection.json {
                    all += page.prefixes.map { ["prefix": $0] } + page.entries.map { object($0) }
                } else {
                    for prefix in page.prefixes { say("\(String(repeating: " ", count: 32))\(plain(prefix))") }
                    for entry in page.entries { say(line(entry)) }
                }
            }
            if connection.json { sayJSON(["bucket": place.bucket, "objects": all]) }
        }
    }

    private func listBuckets(_ client: S3Client) throws {
        let buckets = try client.buckets()
        if connection.json { return sayJSON(["buckets": buckets.map { ["name": $0.name, "created": $0.created] }]) }
        for bucket in buckets { say("\(time(bucket.created))  \(bucket.name)") }
    }

    private func object(_ entry: S3Entry) -> [String: Any] {
        var object: [String: Any] = ["key": entry.key, "modified": entry.modified]
        if !entry.isDeleteMarker {
            object.merge(["size": entry.size, "etag": entry.etag, "storage_class": entry.storageClass]) { $1 }
        }
        if let version = entry.version {
            object.merge(["version": version, "latest": entry.isLatest, "delete_marker": entry.isDeleteMarker]) { $1 }
        }
        return object
    }

    private func line(_ entry: S3Entry) -> String {
        let size = entry.isDeleteMarker ? "deleted" : TransferProgress.bytes(entry.size)
        var parts = [time(entry.modified), String(repeating: " ", count: max(0, 11 - size.count)) + size]
        if let version = entry.version { parts.append("\(version)\(entry.isLatest ? " latest" : "")") }
        if long {
            parts.append(entry.storageClass.padding(toLength: max(19, entry.storageClass.count), withPad: " ", startingAt: 0))
            parts.append(entry.etag)
        }
        return (parts + [plain(entry.key)]).joined(separator: "  ")
    }

    /// `2026-11-25 08:42:19`
    private func time(_ iso: String) -> String { iso.prefix(19).replacingOccurrences(of: "T", with: " ") }
}

/// A key for a terminal: control characters, which could move its cursor, are shown escaped.
func plain(_ key: String) -> String {
    key.unicodeScalars.contains { $0.properties.generalCategory == .control }
        ? key.unicodeScalars.map { $0.properties.generalCategory == .control ? $0.escaped(asASCII: true) : String($0) }.joined() : key
}

struct ObjectRemove: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove objects.",
        discussion: "In a bucket with versions a delete marker is set, unless --versions removes them.")

    @Argument(help: "BUCKET/KEY; with --recursive BUCKET or BUCKET/DIRECTORY.") var places: [S3Place]
    @Flag(name: [.short, .long], help: "All objects below it.") var recursive = false
    @Flag(help: "All versions and delete markers, for good.") var versions = false
    @OptionGroup var connection: Connection

    func validate() throws {
        if places.isEmpty { throw ValidationError("name objects as BUCKET/KEY") }
        if !recursive, let bucket = places.first(where: { $0.key.isEmpty }) {
            throw ValidationError("\(bucket) is a bucket: name objects as BUCKET/KEY, give --recursive for all of its objects, or see hearth object rb")
        }
    }

    func run() throws {
        var count = 0
        for place in places {
            try connection.withS3(place) { client in
                if recursive {
                    var below = place
                    if !below.key.isEmpty, !below.key.hasSuffix("/") { below.key += "/" }
                    count += try client.removeAll(below, versions: versions)
                } else if versions {
                    let found = try client.removeAll(place, versions: true) { $0.key == place.key }
                    guard found > 0 else { throw Failure("there is no object \(place): see hearth object ls --versions") }
                    count += found
                } else {
                    _ = try client.head(place)
                    _ = try client.call("DELETE", place)
                    count += 1
                }
            }
        }
        if connection.json { return sayJSON(["removed": count]) }
        say("removed \(count) \(versions ? "version" : "object")\(count == 1 ? "" : "s")")
    }
}

extension S3Client {
    /// Removes what a listing shows, a page of 1,000 in one call; how many there were.
    func removeAll(_ place: S3Place, versions: Bool, where isMeant: (S3Entry) -> Bool = { _ in true }) throws -> Int {
        var count = 0
        try eachPage { (next) throws(ClientError) in
            versions ? try listVersions(place, after: next) : try list(place, after: next)
        } _: { page in
            let entries = page.entries.filter(isMeant)
            guard !entries.isEmpty else { return }
            let kept = try remove(entries, from: place.bucket)
            count += entries.count - kept.count
            if let first = kept.first { throw Failure("\(place.bucket)/\(plain(first.key)) was not removed: \(first.why)") }
        }
        return count
    }
}

struct BucketMake: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "mb", abstract: "Make a bucket.")

    @Argument(help: "3 to 63 lower-case letters, digits, hyphens and dots.") var bucket: S3Place
    @OptionGroup var connection: Connection

    func validate() throws { try expectBucket(bucket) }

    func run() throws {
        try connection.withS3(bucket) { client in
            do throws(ClientError) { _ = try client.call("HEAD", bucket) } catch {
                // An answer to HEAD has no words: what is wrong with the name is told by PUT.
                guard error.code != nil, !error.isTransient else { throw error }
                _ = try client.call("PUT", bucket)
                return
            }
            throw Failure("there is a bucket \(bucket) already")
        }
        if connection.json { sayJSON(["bucket": bucket.bucket]) } else { say("made \(bucket)") }
    }
}

private func expectBucket(_ place: S3Place) throws {
    if !place.key.isEmpty { throw ValidationError("\(place) is no bucket: a bucket's name has no slash") }
}

struct BucketRemove: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rb", abstract: "Remove an empty bucket; with --force one with all that is in it.")

    @Argument(help: "The bucket.") var bucket: S3Place
    @Flag(help: "Remove its objects, all their versions, and its uploads under way first.") var force = false
    @OptionGroup var connection: Connection

    func validate() throws { try expectBucket(bucket) }

    func run() throws {
        let count: Int = try connection.withS3(bucket) { client in
            var count = 0
            if force {
                count = try client.removeAll(bucket, versions: true)
                for upload in try client.uploads(bucket) {
                    try client.abort(S3Place(bucket: bucket.bucket, key: upload.key), upload: upload.id)
                }
            }
            do throws(ClientError) { _ = try client.call("DELETE", bucket) } catch {
                guard error.code == "BucketNotEmpty" else { throw error }
                throw Failure("\(bucket) is not empty: hearth object rb --force removes what is in it too, for good")
            }
            return count
        }
        if connection.json { return sayJSON(["bucket": bucket.bucket, "removed": count]) }
        say("removed \(bucket)\(count > 0 ? " with \(count) versions" : "")")
    }
}
