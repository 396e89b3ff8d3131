import Testing

@testable import Client

/// The pure parts of the client.
@Suite struct ClientTests {
    @Test func placesAreBucketsAndKeysAsTheyAreWritten() {
        let wanted: [(String, String, String)] = [
            ("b", "b", ""), ("b/", "b", ""), ("s3://b/k", "b", "k"), ("b/a//c/", "b", "a//c/"), ("s3://b//x", "b", "/x"), ("b/../é ?", "b", "../é ?"),
        ]
        for (text, bucket, key) in wanted { #expect(S3Place(text) == S3Place(bucket: bucket, key: key), "\(text)") }
        #expect(S3Place("") == nil && S3Place("s3://") == nil && S3Place("/k") == nil)
        #expect(S3Place(bucket: "b", key: "../é ?/+%").path == "/b/../%C3%A9%20%3F/%2B%25")
    }

    @Test func partsAreTenThousandAtTheMost() {
        let (wanted, mebibyte) = (S3Upload.partBytesDefault, Int64(1 << 20))
        for size in [0, 1, mebibyte, Int64(wanted) * 10_000] { #expect(S3Upload.partBytes(wanted: wanted, size: size) == wanted) }
        for size in [Int64(wanted) * 10_000 + 1, 1 << 40, 5 << 40] {
            let bytes = Int64(S3Upload.partBytes(wanted: wanted, size: size))
            #expect(bytes % mebibyte == 0 && bytes > wanted && (size + bytes - 1) / bytes <= 10_000 && (bytes - mebibyte) * 10_000 < size)
        }
    }

    @Test func pausesGrowAndErrorsTellWhetherToTryAgain() {
        let pauses = (1...8).map { Persistence().pauseMilliseconds(before: $0) }
        #expect(pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000] && Persistence().pauseMilliseconds(before: 1000) == 5000)
        let transient: [ClientError] = [
            .broken(endpoint: "e"), .unreachable(endpoint: "e", why: "w"), .refused(status: 503, code: "SlowDown", message: ""),
            .refused(status: 400, code: "RequestTimeout", message: "m"),
        ]
        for error in transient { #expect(error.isTransient, "\(error)") }
        let final: [ClientError] = [.local("l"), .notHTTP(endpoint: "e", reason: "r"), .refused(status: 403, code: "AccessDenied", message: "No.")]
        for error in final { #expect(!error.isTransient, "\(error)") }
        #expect("\(final[2])" == "AccessDenied: No")
    }

    @Test func progressFitsItsLine() {
        var progress = TransferProgress(name: "a-rather-long-name-of-a-file.iso", total: 3 << 30)
        progress.done = 3 << 29
        progress.resumed = 1 << 30
        let line = progress.line(afterMilliseconds: 1000, columns: 200)
        #expect(line == "a-rather-long-name-of-a-file.iso  [##########..........]  50 %  1.5 GiB of 3.0 GiB  512.0 MiB/s  3 s left")
        for columns in 1...120 { #expect(progress.line(afterMilliseconds: 1000, columns: columns).count <= columns) }
        #expect(progress.line(afterMilliseconds: 1000, columns: 80).hasPrefix("…"))
        #expect(TransferProgress(name: "x", total: 0).line(afterMilliseconds: 0, columns: 80) == "x  [####################]  100 %  0 B of 0 B  0 B/s")
        #expect(TransferProgress(name: "-", total: nil).line(afterMilliseconds: 5, columns: 80) == "-  0 B  0 B/s")
        let sizes: [(Int64, String)] = [(1023, "1023 B"), (1024, "1.0 KiB"), ((1 << 20) - 1, "1.0 MiB"), (1536 << 20, "1.5 GiB"), (1 << 40, "1.0 TiB")]
        for (bytes, text) in sizes { #expect(TransferProgress.bytes(bytes) == text) }
    }
}
