internal import Synchronization

/// Buckets and what is configured of them.
extension ObjectStore {
    /// Fails with `bucketAlreadyExists`, which names the owner.
    package func createBucket(_ name: BucketName, owner: String, objectLock: Bool = false, done: @escaping Done<Bucket>) {
        meta.submit(done) { [table, options] transaction in
            let db = transaction.db
            if let other = try db.first("SELECT owner FROM buckets WHERE name = ?", .text(name.text), body: { $0.text(0) }) {
                throw ObjectsError.bucketAlreadyExists(owner: other)
            }
            let bucket = Bucket(
                name: name, owner: owner, created: transaction.now, versioning: objectLock ? .enabled : .off, hasObjectLock: objectLock)
            try db.run(
                "INSERT INTO buckets (name, owner, created, versioning, object_lock) VALUES (?, ?, ?, ?, ?)", .text(name.text),
                .text(owner),
                .int(bucket.created), .int(bucket.versioning.rawValue), .int(objectLock ? 1 : 0))
            let id = db.lastRowID
            transaction.afterCommit {
                table.put(BucketEntry(id: id, bucket: bucket, documents: [:], lifecycle: Lifecycle(rules: [], day: options.day)))
            }
            return bucket
        }
    }

    /// Uploads under way in it are aborted.
    package func deleteBucket(_ name: BucketName, done: @escaping Done<Void>) {
        meta.submit(done) { [table] transaction in
            let db = transaction.db
            let entry = try transaction.bucket(name, in: table)
            guard try db.first("SELECT 1 FROM versions WHERE bucket = ? LIMIT 1", .int(entry.id), body: { _ in true }) == nil else {
                throw ObjectsError.bucketNotEmpty
            }
            for upload in try db.rows("SELECT id FROM uploads WHERE bucket = ?", .int(entry.id), body: { $0.int(0) }) {
                try Uploads.remove(upload, transaction)
            }
            try db.run("DELETE FROM documents WHERE bucket = ?", .int(entry.id))
            try db.run("DELETE FROM buckets WHERE id = ?", .int(entry.id))
            transaction.didDelete(bucket: entry.id)
            transaction.afterCommit { table.remove(name) }
        }
    }

    /// By name, from memory; `owner` nil: everybody's. Never waits, so there is no `done`.
    package func buckets(owner: String? = nil) -> [Bucket] { table.all.map(\.bucket).filter { owner == nil || $0.owner == owner } }

    /// From memory; nil: there is none.
    package func bucket(_ name: BucketName) -> Bucket? { table.find(name)?.bucket }

    /// Object Lock needs versioning: it cannot be suspended then.
    package func setVersioning(_ state: Versioning, of name: BucketName, done: @escaping Done<Void>) {
        meta.submit(done) { [table] transaction in
            let entry = try transaction.bucket(name, in: table)
            guard state == .enabled || !entry.bucket.hasObjectLock else {
                throw ObjectsError.invalidRequest("versioning cannot be suspended in a bucket with Object Lock")
            }
            try transaction.db.run("UPDATE buckets SET versioning = ? WHERE id = ?", .int(state.rawValue), .int(entry.id))
            transaction.afterCommit {
                table.change(name) { entry in
                    let old = entry.bucket
                    entry.bucket = Bucket(
                        name: name, owner: old.owner, created: old.created, versioning: state, hasObjectLock: old.hasObjectLock)
                }
            }
        }
    }

    /// From memory; throws `noSuchBucket` or `noSuchConfiguration`.
    package func document(_ kind: BucketDocument, of name: BucketName) throws(ObjectsError) -> [UInt8] {
        guard let entry = table.find(name) else { throw .noSuchBucket(name.text) }
        guard let bytes = entry.documents[kind] else { throw .noSuchConfiguration(kind) }
        return bytes
    }

    /// nil removes it.
    package func setDocument(_ kind: BucketDocument, _ bytes: [UInt8]?, of name: BucketName, done: @escaping Done<Void>) {
        meta.submit(done) { [table] transaction in
            let entry = try transaction.bucket(name, in: table)
            if let bytes {
                try transaction.db.run(
                    "INSERT INTO documents (bucket, kind, bytes) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
                    .int(entry.id), .text(kind.rawValue), .blob(bytes))
            } else {
                try transaction.db.run("DELETE FROM documents WHERE bucket = ? AND kind = ?", .int(entry.id), .text(kind.rawValue))
            }
            transaction.afterCommit { table.change(name) { $0.documents[kind] = bytes } }
        }
    }

    /// The rules of the lifecycle document, parsed by the door: they act at once. Kept in memory only: to be given again after a
    /// start, before requests are served.
    package func setLifecycle(_ rules: [LifecycleRule], of name: BucketName) {
        table.change(name) { $0.lifecycle = Lifecycle(rules: rules, day: options.day) }
    }

    /// As `setLifecycle`; empty: nothing moves.
    package func setTiering(_ rules: [TieringRule], of name: BucketName) { table.change(name) { $0.tiering = rules } }
}
