import Client
import Foundation
import Objects
import SigV4

/// The archive tier's files in a bucket of any S3.
struct S3Archive: ArchivePlace {
    private let client: S3Client
    private let bucket: String

    init(endpoint: String, bucket: String, credentials: Credentials, region: String) {
        client = S3Client(endpoint: endpoint, credentials: credentials, region: region) { UInt64(Date().timeIntervalSince1970) }
        self.bucket = bucket
    }

    private func place(_ name: String) -> S3Place { S3Place(bucket: bucket, key: name) }

    private func asking<T>(_ body: () throws(ClientError) -> T) throws(ObjectsError) -> T {
        do throws(ClientError) { return try body() } catch { throw .storage("the archive at \(client.endpoint): \(error)") }
    }

    func put(_ path: String, as name: String) throws(ObjectsError) {
        try asking { () throws(ClientError) in _ = try S3Upload(client, to: place(name)).send(file: path) }
    }

    func get(_ name: String, into path: String) throws(ObjectsError) {
        try asking { () throws(ClientError) in
            let place = place(name)
            _ = try S3Download(client, from: place).fetch(client.head(place), into: path)
        }
    }

    func remove(_ name: String) throws(ObjectsError) {
        try asking { () throws(ClientError) in _ = try client.call("DELETE", place(name)) }
    }

    func size(of name: String) throws(ObjectsError) -> Int64? {
        try asking { () throws(ClientError) in
            do throws(ClientError) { return try client.head(place(name)).size } catch {
                guard error.code == "NoSuchKey" else { throw error }
                return nil
            }
        }
    }
}
