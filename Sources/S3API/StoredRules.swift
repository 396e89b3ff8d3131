package import Objects

/// What the documents of buckets mean to the store, which does not read them: told once, before requests are served.
package enum StoredRules {
    package static func load(into store: ObjectStore) {
        for bucket in store.buckets() {
            if let bytes = try? store.document(.lifecycle, of: bucket.name) {
                store.setLifecycle(LifecycleDocument.enabled(bytes), of: bucket.name)
            }
            if let bytes = try? store.document(.notification, of: bucket.name) {
                store.setNotifications(NotificationDocument.stored(bytes), of: bucket.name)
            }
            if let bytes = try? store.document(.tiering, of: bucket.name) {
                store.setTiering(TieringDocument.enabled(bytes), of: bucket.name)
            }
        }
    }
}
