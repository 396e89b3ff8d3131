internal import Base
internal import Catalog

/// Documents of function URLs, policies, tags, layers and the account.
struct URLDocument: Decodable {
    var AuthType: String?
    var InvokeMode: String?
    var Cors: CORSDocument?
}

struct CORSDocument: Codable {
    var AllowCredentials: Bool?
    var AllowHeaders: [String]?
    var AllowMethods: [String]?
    var AllowOrigins: [String]?
    var ExposeHeaders: [String]?
    var MaxAge: Int?

    init(_ cors: URLSettings.CORS) {
        AllowCredentials = cors.allowsCredentials
        AllowHeaders = cors.headers
        AllowMethods = cors.methods
        AllowOrigins = cors.origins
        ExposeHeaders = cors.exposed
        MaxAge = cors.ageMax
    }

    var settings: URLSettings.CORS {
        var cors = URLSettings.CORS()
        cors.allowsCredentials = AllowCredentials
        cors.headers = AllowHeaders
        cors.methods = AllowMethods
        cors.origins = AllowOrigins
        cors.exposed = ExposeHeaders
        cors.ageMax = MaxAge
        return cors
    }
}

struct URLConfiguration: Encodable {
    var FunctionUrl: String
    var FunctionArn: String
    var AuthType: String
    var Cors: CORSDocument?
    var CreationTime: String
    var LastModifiedTime: String?
    var InvokeMode: String?
}

struct URLList: Encodable {
    var FunctionUrlConfigs: [URLConfiguration]
    var NextMarker: String?
}

struct PermissionDocument: Decodable {
    var StatementId: String
    var Action: String
    var Principal: String
    var SourceArn: String?
    var SourceAccount: String?
    var EventSourceToken: String?
    var PrincipalOrgID: String?
    var FunctionUrlAuthType: String?
    var InvokedViaFunctionUrl: Bool?
    var OrganizationId: String?
    var RevisionId: String?
}

/// A statement in the form of IAM's policies (recorded).
struct StatementDocument: Encodable {
    var Sid: String
    var Effect = "Allow"
    var Principal: PrincipalDocument
    var Action: String
    var Resource: String
    var Condition: [String: [String: String]]?

    init(_ statement: PolicyStatement, resource: String) {
        Sid = statement.sid
        Action = statement.action
        Resource = resource
        Principal = PrincipalDocument(statement.principal)
        var equals: [String: String] = [:]
        equals["AWS:SourceAccount"] = statement.sourceAccount
        equals["lambda:FunctionUrlAuthType"] = statement.urlAuthType
        equals["aws:PrincipalOrgID"] = statement.principalOrgID
        equals["lambda:EventSourceToken"] = statement.eventSourceToken
        var condition: [String: [String: String]] = [:]
        if !equals.isEmpty { condition["StringEquals"] = equals }
        if let arn = statement.sourceARN { condition["ArnLike"] = ["AWS:SourceArn": arn] }
        if let isViaURL = statement.isViaURL { condition["Bool"] = ["lambda:InvokedViaFunctionUrl": String(isViaURL)] }
        Condition = condition.isEmpty ? nil : condition
    }
}

/// `"*"`, `{"Service": …}` or `{"AWS": …}`
struct PrincipalDocument: Encodable {
    let principal: String

    init(_ principal: String) { self.principal = principal }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if principal == "*" { return try container.encode(principal) }
        if principal.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) { return try container.encode(["AWS": "arn:aws:iam::\(principal):root"]) }
        try container.encode([principal.hasPrefix("arn:") ? "AWS" : "Service": principal])
    }
}

struct PolicyDocument: Encodable {
    var Version = "2012-10-17"
    var Id = "default"
    var Statement: [StatementDocument]
}

struct AddedStatement: Encodable {
    var Statement: String
    var RevisionId: String?
}

struct PolicyAnswer: Encodable {
    var Policy: String
    var RevisionId: String
}

struct TagsDocument: Codable { var Tags: [String: String] }

struct LayerContentDocument: Decodable {
    var Content: CodeDocument
    var Description: String?
    var LicenseInfo: String?
    var CompatibleRuntimes: [String]?
    var CompatibleArchitectures: [String]?
}

struct LayerContent: Encodable {
    var Location: String
    var CodeSha256: String
    var CodeSize: Int
}

struct LayerVersionDocument: Encodable {
    var Content: LayerContent?
    var LayerArn: String?
    var LayerVersionArn: String
    var Description: String
    var CreatedDate: String
    var Version: Int
    var CompatibleRuntimes: [String]?
    var LicenseInfo: String?
    var CompatibleArchitectures: [String]?
}

struct LayerVersionList: Encodable {
    var LayerVersions: [LayerVersionDocument]
    var NextMarker: String?
}

struct LayerDescription: Encodable {
    var LayerName: String
    var LayerArn: String
    var LatestMatchingVersion: LayerVersionDocument
}

struct LayerList: Encodable {
    var Layers: [LayerDescription]
    var NextMarker: String?
}

struct AccountSettings: Encodable {
    struct Limit: Encodable {
        var TotalCodeSize = 80_530_636_800
        var CodeSizeUnzipped = Limits.unzippedBytesMax
        var CodeSizeZipped = Limits.zipBytesMax
        var ConcurrentExecutions: Int
        var UnreservedConcurrentExecutions: Int
    }
    struct Usage: Encodable {
        var TotalCodeSize: Int
        var FunctionCount: Int
    }
    var AccountLimit: Limit
    var AccountUsage: Usage
}
