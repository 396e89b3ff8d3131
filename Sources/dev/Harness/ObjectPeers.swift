import Crypto
import Foundation
import GRDBSQLite

/// One file per object: written under another name, synced, renamed, its directory synced.
struct FilesUnderTest {
    private let directory: String

    init(_ directory: String) {
        self.directory = directory
        mkdir(directory, 0o755)
    }

    /// Seconds of all.
    func put(count: Int, threads: Int, body: [UInt8], isHashed: Bool) -> Double {
        let turns = Turns(count)
        return seconds {
            runThreads(threads) { while let n = turns.next() { write(body, "\(directory)/\(n)", isHashed) } }
        }
    }

    private func write(_ body: [UInt8], _ path: String, _ isHashed: Bool) {
        let descriptor = open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        let digest = DigestStream(.md5)
        var crc = CRC(.crc64nvme)
        body.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
                let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(bytes.count, start + 1 << 20)])
                if isHashed {
                    digest.update(part)
                    crc.update(part)
                }
                _ = Glibc.write(descriptor, part.baseAddress, part.count)
            }
        }
        fdatasync(descriptor)
        close(descriptor)
        rename(path + ".new", path)
        let parent = open(directory, O_RDONLY)
        fsync(parent)
        close(parent)
    }
}

/// The rows of a put and nothing else: one connection, prepared statements, groups.
final class RawRows {
    private var db: OpaquePointer?
    private var version: OpaquePointer?
    private var body: OpaquePointer?
    private var id: Int64 = 0

    init(_ path: String) throws {
        guard sqlite3_open(path, &db) == SQLITE_OK else { throw Failure("\(path) does not open") }
        sqlite3_exec(
            db,
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; PRAGMA wal_autocheckpoint = 4000;
            CREATE TABLE versions (bucket INTEGER, key BLOB, seq INTEGER, etag BLOB, modified INTEGER, body INTEGER, PRIMARY KEY (bucket, key, seq))
            WITHOUT ROWID;
            CREATE TABLE bodies (id INTEGER PRIMARY KEY, size INTEGER, data BLOB);
            """, nil, nil, nil)
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO versions VALUES (1, ?, 1, ?, 1, ?)", -1, &version, nil)
        sqlite3_prepare_v2(db, "INSERT INTO bodies VALUES (?, 4096, ?)", -1, &body, nil)
    }

    deinit {
        sqlite3_finalize(version)
        sqlite3_finalize(body)
        sqlite3_close(db)
    }

    /// Seconds of all, in transactions of `group`.
    func insert(count: Int, group: Int, body bytes: [UInt8]) -> Double {
        let etag = [UInt8](repeating: 1, count: 16)
        return seconds {
            for start in stride(from: 0, to: count, by: group) {
                sqlite3_exec(db, "BEGIN IMMEDIATE", nil, nil, nil)
                for n in start..<min(count, start + group) {
                    id += 1
                    let key = Array("page/00000/\(String(format: "%07d", n))-\(id)".utf8)
                    sqlite3_bind_blob(version, 1, key, Int32(key.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_bind_blob(version, 2, etag, 16, unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_bind_int64(version, 3, id)
                    sqlite3_step(version)
                    sqlite3_reset(version)
                    sqlite3_bind_int64(body, 1, id)
                    sqlite3_bind_blob(body, 2, bytes, Int32(bytes.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_step(body)
                    sqlite3_reset(body)
                }
                sqlite3_exec(db, "COMMIT", nil, nil, nil)
            }
        }
    }
}

func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    let span = (ContinuousClock.now - start).components
    return Double(span.seconds) + Double(span.attoseconds) / 1e18
}
