internal import Base
internal import Catalog

/// Request bodies of the control plane, as far as this node knows their fields; others are accepted and ignored, as AWS's
/// own clients send some that mean nothing here.
struct CodeDocument: Decodable {
    var ZipFile: String?
    var S3Bucket: String?
    var S3Key: String?
    var S3ObjectVersion: String?
    var ImageUri: String?
}

/// A field of which nothing is read but that it is there.
struct Presence: Decodable {
    init(from decoder: any Decoder) {}
}

struct EnvironmentDocument: Codable {
    var Variables: [String: String]?
}

struct ConfigurationDocument: Decodable {
    var FunctionName: String?
    var Runtime: String?
    var Role: String?
    var Handler: String?
    var Description: String?
    var Timeout: Int?
    var MemorySize: Int?
    var Publish: Bool?
    var Environment: EnvironmentDocument?
    var EphemeralStorage: SizeDocument?
    var SnapStart: SnapStartDocument?
    var DeadLetterConfig: DeadLetterDocument?
    var Architectures: [String]?
    var Code: CodeDocument?
    var Layers: [String]?
    var RevisionId: String?
    var PackageType: String?
    var Tags: [String: String]?
    var TracingConfig: TracingDocument?
    var LoggingConfig: LoggingDocument?
    // What is not done here: refused when it is there.
    var ImageConfig: Presence?
    var FileSystemConfigs: [Presence]?
    var CodeSigningConfigArn: String?
    var CapacityProviderConfig: Presence?
    var DurableConfig: Presence?
    var TenancyConfig: Presence?
    var PublishTo: String?
    /// Hearth's own: `open`, and the new function's URL answers everybody. (What `hearth deploy` makes is served at once.)
    var HearthURL: String?
    /// Hearth's own: what `function.toml` can say and Lambda cannot.
    var HearthConcurrency: FunctionSettings.Concurrency?
    /// What its workers' key lets them do; replaces all that was said of it before.
    var HearthAccess: FunctionSettings.Access?
    /// What it keeps of results; replaces all that was said of it before.
    var HearthCache: CacheDocument?
}

struct CacheDocument: Codable {
    var memoize: FunctionSettings.Memoize?
    var routes: [FunctionSettings.Route]?
}

struct UpdateCodeDocument: Decodable {
    var ZipFile: String?
    var S3Bucket: String?
    var S3Key: String?
    var S3ObjectVersion: String?
    var ImageUri: String?
    var Architectures: [String]?
    var PublishTo: String?

    var code: CodeDocument {
        CodeDocument(ZipFile: ZipFile, S3Bucket: S3Bucket, S3Key: S3Key, S3ObjectVersion: S3ObjectVersion, ImageUri: ImageUri)
    }
    var Publish: Bool?
    var DryRun: Bool?
    var RevisionId: String?
}

struct PublishDocument: Decodable {
    var PublishTo: String?
    var CodeSha256: String?
    var Description: String?
    var RevisionId: String?
}

struct AliasDocument: Decodable {
    var Name: String?
    var FunctionVersion: String?
    var Description: String?
    var RoutingConfig: RoutingDocument?
    var RevisionId: String?
}

struct DestinationDocument: Codable {
    var Destination: String?
}

struct DestinationConfigDocument: Codable {
    var OnSuccess: DestinationDocument?
    var OnFailure: DestinationDocument?
}

struct EventInvokeDocument: Decodable {
    var MaximumRetryAttempts: Int?
    var MaximumEventAgeInSeconds: Int?
    var DestinationConfig: DestinationConfigDocument?
}

/// FunctionEventInvokeConfig, in the form in which Lambda returns it.
struct EventInvokeConfiguration: Encodable {
    /// Seconds since 1970.
    var LastModified: Double
    var FunctionArn: String
    var MaximumRetryAttempts: Int?
    var MaximumEventAgeInSeconds: Int?
    var DestinationConfig: DestinationConfigDocument
}

struct EventInvokeList: Encodable {
    var FunctionEventInvokeConfigs: [EventInvokeConfiguration]
    var NextMarker: String?
}

struct DeadLetterDocument: Codable { var TargetArn: String? }

struct RoutingDocument: Codable { var AdditionalVersionWeights: [String: Double]? }
struct TracingDocument: Codable { var Mode: String? }

struct LoggingDocument: Codable {
    var LogFormat: String?
    var ApplicationLogLevel: String?
    var SystemLogLevel: String?
    var LogGroup: String?
}

struct LayerDocument: Encodable {
    var Arn: String
    var CodeSize: Int
}
struct ReservedDocument: Codable { var ReservedConcurrentExecutions: Int? }
struct ProvisionedDocument: Decodable { var ProvisionedConcurrentExecutions: Int? }
struct SizeDocument: Codable { var Size: Int }
struct SnapStartDocument: Decodable { var ApplyOn: String? }

/// FunctionConfiguration, in the form in which Lambda returns it (recorded 2025-11-25).
struct FunctionConfiguration: Encodable {
    struct Snap: Encodable {
        var ApplyOn = "None"
        var OptimizationStatus = "Off"
    }
    struct RuntimeVersion: Encodable { var RuntimeVersionArn: String }

    var FunctionName: String
    var FunctionArn: String
    var Runtime: String
    var Role: String
    var Handler: String
    var CodeSize: Int
    var Description: String
    var Timeout: Int
    var MemorySize: Int
    var LastModified: String
    var CodeSha256: String
    var Version: String
    var Environment: EnvironmentDocument?
    var TracingConfig: TracingDocument
    var RevisionId: String
    var PackageType = "Zip"
    var Architectures: [String]
    var EphemeralStorage: SizeDocument
    var DeadLetterConfig: DeadLetterDocument?
    var SnapStart: Snap
    var Layers: [LayerDocument]?
    var LoggingConfig: LoggingDocument
    var State: String?
    var StateReason: String?
    var StateReasonCode: String?
    var LastUpdateStatus: String?
    var LastUpdateStatusReason: String?
    var LastUpdateStatusReasonCode: String?
    var RuntimeVersionConfig: RuntimeVersion?

    /// What an answer says of the function's state. AWS finishes a change after it has answered; Hearth before. The
    /// answers to changes say what AWS's say, so that clients which wait for the end do the same here as there.
    enum Phase { case created, updated, settled, listed }

    /// - Parameters:
    ///   - version: `$LATEST` or the number that the caller named.
    ///   - arn: with the qualifier that the answer shows, if any.
    ///   - phase: lists leave the state out.
    init(_ function: FunctionEntry, _ entry: VersionEntry, version: String, arn: String, phase: Phase = .settled) {
        let settings = entry.settings
        FunctionName = function.name
        FunctionArn = arn
        Runtime = settings.runtime
        Role = settings.role
        Handler = settings.handler
        CodeSize = entry.codeSize
        Description = version == "$LATEST" ? settings.description : entry.publishedDescription ?? settings.description
        Timeout = settings.timeout
        MemorySize = settings.memorySize
        LastModified = Self.time(entry.lastModifiedMilliseconds)
        CodeSha256 = entry.codeDigest
        Version = version
        Environment = settings.environment.isEmpty ? nil : EnvironmentDocument(Variables: settings.environment)
        RevisionId = version == "$LATEST" ? function.latestRevisionID : entry.revisionID
        Architectures = settings.architectures
        EphemeralStorage = SizeDocument(Size: settings.ephemeralStorage)
        DeadLetterConfig = settings.deadLetter.map { DeadLetterDocument(TargetArn: $0) }
        SnapStart = Snap()
        if settings.snapStart == true {
            SnapStart.ApplyOn = "PublishedVersions"
            if version != "$LATEST" { SnapStart.OptimizationStatus = "On" }
        }
        TracingConfig = TracingDocument(Mode: settings.tracing ?? "PassThrough")
        Layers = settings.layers.map { $0.map { LayerDocument(Arn: $0.arn, CodeSize: $0.size) } }
        let logging = settings.logging
        LoggingConfig = LoggingDocument(
            LogFormat: logging?.format ?? "Text", ApplicationLogLevel: logging?.applicationLevel, SystemLogLevel: logging?.systemLevel,
            LogGroup: logging?.group ?? "/aws/lambda/\(function.name)")
        guard phase != .listed else { return }
        let why = "The function is being created."
        if phase == .created {
            (State, StateReason, StateReasonCode) = ("Pending", why, "Creating")
        } else {
            State = "Active"
            LastUpdateStatus = phase == .updated ? "InProgress" : "Successful"
            if phase == .updated { (LastUpdateStatusReason, LastUpdateStatusReasonCode) = (why, "Creating") }
        }
        RuntimeVersionConfig = RuntimeVersion(
            RuntimeVersionArn: "arn:aws:lambda:\(arn.split(separator: ":").dropFirst(3).first ?? "")::runtime:\(settings.runtime)")
    }

    /// `2026-11-23T01:02:03.456+0000`
    static func time(_ milliseconds: Int64) -> String {
        let time = UTCTime(epochSeconds: UInt64(max(0, milliseconds)) / 1000)
        return "\(time.date)T\(time.time).\(UTCTime.pad(Int(milliseconds % 1000), 3))+0000"
    }
}

struct CreatedCode: Encodable {
    var RepositoryType = "S3"
    var Location: String
}

struct FunctionDocument: Encodable {
    var Configuration: FunctionConfiguration
    var Code: CreatedCode
    var Tags: [String: String]?
    var Concurrency: ReservedDocument?
}

struct FunctionList: Encodable {
    var Functions: [FunctionConfiguration]
    var NextMarker: String?
}

struct VersionList: Encodable {
    var Versions: [FunctionConfiguration]
    var NextMarker: String?
}

struct AliasConfiguration: Encodable {
    var AliasArn: String
    var Name: String
    var FunctionVersion: String
    var Description: String
    var RevisionId: String
    var RoutingConfig: RoutingDocument?

    init(_ alias: AliasEntry, arn: String) {
        AliasArn = "\(arn):\(alias.name)"
        Name = alias.name
        FunctionVersion = alias.versionName
        RoutingConfig = alias.weight.map { RoutingDocument(AdditionalVersionWeights: [String($0.version): $0.share]) }
        Description = alias.description
        RevisionId = alias.revisionID
    }
}

struct AliasList: Encodable {
    var Aliases: [AliasConfiguration]
    var NextMarker: String?
}

struct ProvisionedConfiguration: Encodable {
    var FunctionArn: String?
    var RequestedProvisionedConcurrentExecutions: Int
    var AvailableProvisionedConcurrentExecutions: Int
    var AllocatedProvisionedConcurrentExecutions: Int
    var Status: String
    var StatusReason: String?
    var LastModified: String
}

struct ProvisionedList: Encodable {
    var ProvisionedConcurrencyConfigs: [ProvisionedConfiguration]
    var NextMarker: String?
}
