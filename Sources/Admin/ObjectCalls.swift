internal import Base
internal import HTTP
internal import Net
internal import Objects
internal import UV

/// `/_hearth/objects`: what S3 has no call for: statistics, usage, check, compaction, backup.
extension AdminService {
    /// `GET objects/stats`, `GET objects/usage?bucket=B&prefix=P&delimiter=D`, `GET objects/backup`, `POST objects/check?rate=BYTES`,
    /// `POST objects/compact?live=FRACTION`.
    func objects(_ method: HTTPMethod, _ parts: [String], _ request: HTTPRequest) {
        let connection = request.connection
        switch (method, parts) {
        case (.get, ["stats"]): answer(connection, { self.store.statistics(done: $0) }) { .object(Self.members($0)) }
        case (.get, ["usage"]): usage(request)
        case (.get, ["backup"]): backup(connection)
        case (.post, ["check"]):
            let rate = queryValue(request.query, "rate").flatMap { Int64($0) }
            guard rate.map({ $0 > 0 }) ?? true else { return Report.fail(400, "rate is a number of bytes a second", on: connection) }
            answer(connection, { self.store.check(bytesPerSecond: rate, done: $0) }) { .object(Self.members($0)) }
        case (.post, ["compact"]):
            let live = queryValue(request.query, "live").map { Double($0) ?? 0 } ?? 0.5
            guard live > 0, live <= 1 else { return Report.fail(400, "live is a fraction above 0 and at most 1", on: connection) }
            answer(connection, { self.store.compact(liveFraction: live, done: $0) }) {
                .object([
                    ("files_removed", .number($0.filesRemoved)), ("bytes_moved", .number($0.bytesMoved)), ("bytes_freed", .number($0.bytesFreed)),
                ])
            }
        default: Report.fail(404, "Hearth has no call \(request.text(request.head.path))", on: connection)
        }
    }

    /// Runs a call of the store and answers what came of it.
    private func answer<T: Sendable>(
        _ connection: HTTPConnection, _ call: (@escaping ObjectStore.Done<T>) -> Void, _ report: @escaping (T) -> Report
    ) {
        let box = LoopBound((connection, report), on: loop)
        call { [remote = loop.remote] result in
            remote.post {
                let (connection, report) = box.wrapped
                switch result {
                case .success(let value): Report.send(report(value), on: connection)
                case .failure(.noSuchBucket(let name)): Report.fail(404, "there is no bucket \(name): see hearth object ls", on: connection)
                case .failure(let error): Report.fail(500, "\(error)", on: connection)
                }
            }
        }
    }

    private func usage(_ request: HTTPRequest) {
        func text(_ name: StaticString) -> [UInt8] { Array((queryValue(request.query, name) ?? "").utf8) }
        guard let name = try? BucketName(queryValue(request.query, "bucket") ?? "") else {
            return Report.fail(400, "usage is of a bucket: name one by bucket=NAME", on: request.connection)
        }
        let call = { self.store.usage(of: name, prefix: text("prefix"), delimiter: text("delimiter"), done: $0) }
        answer(request.connection, call) { usage in
            .object([
                ("bucket", .text(name.text)), ("objects", .number(usage.current.objects)), ("bytes", .number(usage.current.bytes)),
                ("versions", .number(usage.versions.objects)), ("version_bytes", .number(usage.versions.bytes)),
                ("uploads", .number(usage.uploads)),
                ("tiers", .object(Tier.allCases.map { ($0.name, Self.count(usage.tiers[$0] ?? BucketUsage.Count())) })),
                (
                    "prefixes",
                    .list(
                        usage.prefixes.map { prefix, count in
                            .object([("prefix", .text(String(decoding: prefix, as: UTF8.self)))] + Self.counts(count))
                        })
                ),
            ])
        }
    }

    private static func count(_ count: BucketUsage.Count) -> Report { .object(counts(count)) }
    private static func counts(_ count: BucketUsage.Count) -> [(String, Report)] {
        [("objects", .number(count.objects)), ("bytes", .number(count.bytes))]
    }

    private static func members(_ report: CheckReport) -> [(String, Report)] {
        [
            ("clean", .bool(report.isClean)), ("versions", .number(report.versions)), ("blobs", .number(report.blobs)),
            ("chunks", .number(report.chunks)), ("bytes", .number(report.bytes)), ("dead_bytes", .number(report.deadBytes)),
            ("fault_count", .number(report.faultCount)), ("faults", .list(report.faults.map { .text($0) })),
        ]
    }

    private static func members(_ all: StoreStatistics) -> [(String, Report)] {
        [
            ("buckets", .number(all.buckets)), ("uploads", .number(all.uploads)), ("meta_bytes", .number(all.metaBytes)),
            ("buffered_bytes", .number(all.bufferedBytes)), ("saved_bytes", .number(all.savedBytes)),
            (
                "tiers",
                .object(
                    Tier.allCases.map { tier in
                        let of = all[tier]
                        return (
                            tier.name,
                            .object([
                                ("bytes", .number(of.bytes)), ("stored_bytes", .number(of.storedBytes)), ("file_bytes", .number(of.fileBytes)),
                                ("files", .number(of.files)),
                            ])
                        )
                    })
            ),
            ("lifecycle_expired", .number(all.lifecycleExpired)), ("lifecycle_lag_ms", .number(all.lifecycleLagMilliseconds)),
            ("demoted", .number(all.demoted)), ("promoted", .number(all.promoted)),
        ]
    }

    // MARK: Backup

    private func backup(_ connection: HTTPConnection) {
        let box = LoopBound(connection, on: loop)
        store.backup { [loop = LoopBound(loop, on: loop), remote = loop.remote] result in
            remote.post {
                let connection = box.wrapped
                guard connection.isOpen else { return }
                switch result {
                case .failure(let error): Report.fail(500, "\(error)", on: connection)
                case .success(let backup):
                    connection.begin(200)
                    connection.output.append("Content-Type: application/x-tar\r\n" as StaticString)
                    connection.beginLength(UInt64(backup.byteCount))
                    BodyPump(connection, loop.wrapped) { done in
                        backup.next { result in
                            guard let bytes = try? result.get() else { return done(.broken) }
                            done(bytes.isEmpty ? .end : .piece(bytes))
                        }
                    }.start()
                }
            }
        }
    }
}

extension Report {
    static func number(_ value: Int) -> Report { .number(Double(value)) }
    static func number(_ value: Int64) -> Report { .number(Double(value)) }
}
