import Crypto
import Foundation
import IAM
import SigV4

/// The directory in which a Hearth keeps everything: catalogue, code, credentials, and where it can be reached.
struct DataDirectory {
    let path: String

    /// Where a running server listens; written at its start.
    struct Endpoints: Codable {
        var pid: Int32
        var front: String
        var api: String
        var cache: String
        /// Clients of the cache give the secret access key.
        var cacheAsksPassword: Bool
        var region: String
    }

    private struct StoredCredentials: Codable {
        var access_key_id: String
        var secret_access_key: String
    }

    /// Makes the directory if it is not there; fails with a sentence when it cannot be written.
    func prepare() throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw Failure("cannot make the data directory \(path): \(error.localizedDescription)")
        }
        guard access(path, W_OK) == 0 else {
            throw Failure("the data directory \(path) cannot be written: \(String(cString: strerror(errno)))")
        }
    }

    private var credentialsPath: String { path + "/credentials.json" }
    private var endpointsPath: String { path + "/server.json" }

    /// The credentials of this Hearth; made at the first start, readable by its owner only.
    func makeCredentials() throws -> Credentials {
        if let known = try credentials() { return known }
        let key = AccessKey(bytes: randomBytes(AccessKey.bytesNeeded))
        let data = try JSONEncoder().encode(StoredCredentials(access_key_id: key.id, secret_access_key: key.secret))
        let partial = credentialsPath + ".new"
        let file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Failure("cannot write \(credentialsPath): \(String(cString: strerror(errno)))") }
        let written = data.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
        let isOnDisk = fsync(file) == 0
        close(file)
        guard written == data.count, isOnDisk, rename(partial, credentialsPath) == 0 else {
            throw Failure("cannot write \(credentialsPath): \(String(cString: strerror(errno)))")
        }
        return Credentials(accessKeyID: key.id, secretAccessKey: key.secret)
    }

    func credentials() throws -> Credentials? {
        guard let data = FileManager.default.contents(atPath: credentialsPath) else { return nil }
        guard let stored = try? JSONDecoder().decode(StoredCredentials.self, from: data) else {
            throw Failure("\(credentialsPath) is damaged: remove it and new credentials are made at the next start")
        }
        return Credentials(accessKeyID: stored.access_key_id, secretAccessKey: stored.secret_access_key)
    }

    func write(_ endpoints: Endpoints) throws {
        let data = try JSONEncoder().encode(endpoints)
        do { try data.write(to: URL(fileURLWithPath: endpointsPath), options: .atomic) } catch {
            throw Failure("cannot write \(endpointsPath): \(error.localizedDescription)")
        }
    }

    func endpoints() -> Endpoints? {
        FileManager.default.contents(atPath: endpointsPath).flatMap { try? JSONDecoder().decode(Endpoints.self, from: $0) }
    }

    /// Where the owner of this directory, and nobody else, reaches the cache without a password.
    var cacheSocket: String { path + "/cache.sock" }

    /// Where functions find the cache: shown in their sandboxes.
    var cacheDirectory: String { path + "/cache" }

    func removeEndpoints() { unlink(endpointsPath) }
}
