import Base

/// When an entry ceases to be fresh and to be there, and its stale windows.
struct Lives {
    var freshUntil: Tick
    var expiresAt: Tick
    var staleWhileRevalidate: UInt32 = 0
    var staleIfError: UInt32 = 0
}

/// The store's own steps: how an entry is found and comes in.
extension Cache {
    /// Record, slot in the table (8 bytes at 3/8…3/4 load) and its share of `Ghosts`: what an entry takes beside its block.
    static let entryOverhead = MemoryLayout<Record>.stride + 32

    /// What an entry with one or two tags takes from the limit.
    package static func charge(key: Int, value: Int) -> Int { entryCharge(Block.charge(key: key, value: value, tags: 2)) }

    static func entryCharge(_ blockCharge: Int) -> Int { entryOverhead + blockCharge }

    @inline(__always) func hash(_ key: UnsafeRawBufferPointer, _ namespace: NamespaceID) -> UInt64 {
        ByteHash.hash(key, seed: seed &+ UInt64(namespace.rawValue) &* 0x9E37_79B9_7F4A_7C15) & hashMask
    }

    // MARK: Finding

    @inline(__always)
    func find(_ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID) -> UInt32? {
        table.find(hash) { index in
            let record = arena[index]
            return record.pointee.hash == hash && record.pointee.namespace == namespace.rawValue && record.pointee.block.holds(key)
        }
    }

    /// The entry of this key if it is neither expired nor purged; one that is goes now.
    func current(_ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID, at tick: Tick) -> UInt32? {
        guard let index = find(key, hash, namespace), isCurrent(index, at: tick) else { return nil }
        return index
    }

    @inline(__always) func isCurrent(_ index: UInt32, at tick: Tick) -> Bool {
        let record = arena[index]
        if record.pointee.checked == purges.sequence, tick < record.pointee.expiresAt { return true }
        return settle(index, at: tick)
    }

    /// Removes an entry that is expired or purged (false); makes one stale that is purged softly.
    private func settle(_ index: UInt32, at tick: Tick) -> Bool {
        let record = arena[index]
        if tick >= record.pointee.expiresAt {
            drop(index, .expired, at: tick)
            return false
        }
        return isUnpurged(index, at: tick)
    }

    func isUnpurged(_ index: UInt32, at tick: Tick) -> Bool {
        let found = verdict(index)
        if found.hard > 0 {
            drop(index, .purged, at: tick)
            return false
        }
        arena[index].pointee.checked = purges.sequence
        if found.soft > 0 { makeStale(index, at: found.softAt) }
        return true
    }

    /// The purges that mean an entry and that it has not been held to yet.
    func verdict(_ index: UInt32) -> Epochs {
        let record = arena[index].pointee
        return purges.verdict(
            NamespaceID(rawValue: record.namespace), record.block.key, UnsafeBufferPointer(record.block.tags), since: record.checked)
    }

    func makeStale(_ index: UInt32, at tick: Tick) {
        arena[index].pointee.freshUntil = min(arena[index].pointee.freshUntil, tick)
        arena[index].pointee.flags.insert(.softPurged)
    }

    /// Semantic 7.1.2: a value whose checksum does not hold is a miss, and counted. So is what was stored to say "do not wait".
    @inline(__always) func isServable(_ index: UInt32) -> Bool {
        let record = arena[index]
        guard !record.pointee.flags.contains(.bypass) else { return false }
        if record.pointee.block.isIntact(seed: record.pointee.hash) { return true }
        drop(index, .corrupt, at: wheel.clock)
        return false
    }

    @inline(__always) func hit(_ index: UInt32, _ state: Hit.State) -> Hit {
        let record = arena[index]
        return Hit(
            value: UnsafeRawBufferPointer(record.pointee.block.value), id: EntryID(index: index, generation: record.pointee.generation),
            state: state, isNegative: record.pointee.flags.contains(.negative),
            isEdited: record.pointee.flags.contains(.edited), weight: record.pointee.weight,
            storedAt: record.pointee.storedAt,
            freshUntil: record.pointee.freshUntil)
    }

    func mayServeOnError(_ record: Record, at tick: Tick) -> Bool {
        tick - record.freshUntil < Tick(max(record.staleIfError, record.staleWhileRevalidate))
    }

    // MARK: Coming in

    /// When an answer ends; nil when it has no lifetime, so that it must not be stored.
    func lives(
        _ policy: StorePolicy, _ namespace: NamespaceID, at tick: Tick, replacing old: UInt32? = nil, jitter: Bool = true
    ) -> Lives? {
        let space = spaces + namespace.index
        var ttl: Span
        switch policy.lifetime {
        case .unchanged:
            if let old {
                let record = arena[old].pointee
                return Lives(
                    freshUntil: record.freshUntil, expiresAt: record.expiresAt, staleWhileRevalidate: record.staleWhileRevalidate,
                    staleIfError: record.staleIfError)
            }
            return Lives(freshUntil: .max, expiresAt: .max)
        case .forever:
            guard policy.isNegative else { return Lives(freshUntil: .max, expiresAt: .max) }
            ttl = Span(nanoseconds: .max)
        case .ttl(let span): ttl = span
        }
        if policy.isNegative {
            guard let most = space.pointee.settings.negativeTTL else { return nil }
            ttl = min(ttl, most)
        }
        guard ttl > .zero else { return nil }
        if jitter, space.pointee.settings.jitter > 0 { ttl = jittered(ttl, space.pointee.settings.jitter) }
        let fresh = tick &+ max(1, ttl.wholeMilliseconds)
        guard !policy.isNegative else { return Lives(freshUntil: fresh, expiresAt: fresh) }
        let kept = max(policy.staleWhileRevalidate, policy.staleIfError, policy.keep).wholeMilliseconds
        return Lives(
            freshUntil: fresh, expiresAt: fresh + kept,
            staleWhileRevalidate: UInt32(clamping: policy.staleWhileRevalidate.wholeMilliseconds),
            staleIfError: UInt32(clamping: policy.staleIfError.wholeMilliseconds))
    }

    private func jittered(_ ttl: Span, _ fraction: Double) -> Span {
        let change = (Double.random(in: -1...1, using: &random)) * fraction
        return Span(nanoseconds: UInt64(max(1, Double(ttl.nanoseconds) * (1 + change))))
    }

    func refusal(
        _ key: UnsafeRawBufferPointer, _ valueCount: Int, _ tags: [UnsafeRawBufferPointer], _ lives: Lives?
    ) -> StoreResult.Refusal? {
        if lives == nil { return .noLifetime }
        if key.count > Limits.cacheKeyBytesMax || valueCount > Limits.cacheValueBytesMax { return .tooLarge }
        if tags.count > Limits.cacheTagsPerEntryMax || tags.contains(where: { $0.count > Limits.cacheTagBytesMax }) { return .tooManyTags }
        return nil
    }

    /// Counts a value that is not stored. `old`: what it was to replace and what is outdated now.
    func refuse(_ refusal: StoreResult.Refusal, _ namespace: NamespaceID, dropping old: UInt32?) -> StoreResult {
        if let old { drop(old, .purged, at: wheel.clock) }
        spaces[namespace.index].counters.refused &+= 1
        return .refused(refusal)
    }

    func objectMax(_ namespace: NamespaceID) -> Int {
        min(limitBytes / Limits.cacheObjectShare, spaces[namespace.index].settings.ceilingBytes)
    }

    /// Makes room for an entry of `charge` bytes, of which `growth` are not accounted yet; the reason when there is none. An entry that it
    /// replaces leaves its queue, so that it is not evicted for its own successor.
    func admit(_ charge: Int, growth: Int, _ namespace: NamespaceID, replacing old: UInt32?) -> StoreResult.Refusal? {
        guard charge <= objectMax(namespace) else { return .tooLarge }
        if old == nil, arena.live >= Limits.cacheEntriesMax { return .noRoom }
        var freed = 0
        if let old {
            eviction.remove(old)
            freed = arena[old].pointee.charge
        }
        if makeRoom(growth - freed, charge - freed, namespace) { return nil }
        if let old { eviction.enqueue(old) }
        return .noRoom
    }

    /// Puts a block into the store: into the record of the entry it replaces, or into a new one. (`admit` has been asked.)
    func install(_ block: Block, _ hash: UInt64, _ namespace: NamespaceID, replacing old: UInt32?) -> UInt32 {
        guard let index = old ?? arena.take() else { preconditionFailure("admit has checked that there is a record") }
        let record = arena[index]
        let space = spaces + namespace.index
        if old != nil {
            account(index, -record.pointee.charge)
            leave(record.pointee.block)
        } else {
            record.pointee.hash = hash
            record.pointee.namespace = namespace.rawValue
            table.insert(hash, index)
            space.pointee.counters.entries += 1
        }
        block.header.pointee.isResident = true
        block.header.pointee.owner = index
        block.seal(seed: hash)
        record.pointee.memory = block.base
        record.pointee.chargeUnits = UInt32(Self.entryCharge(block.charge) / 16)
        account(index, record.pointee.charge)
        return index
    }

    /// What a policy says about an entry, new, replaced or overwritten in place.
    func place(_ index: UInt32, _ lives: Lives?, _ policy: StorePolicy, flags: Record.Flags = [], at tick: Tick) {
        let record = arena[index]
        let isOffered = record.pointee.flags.contains(.offered)
        record.pointee.flags = policy.isNegative ? [.live, .negative] : .live
        if policy.isEdited { record.pointee.flags.insert(.edited) }
        record.pointee.flags.formUnion(isOffered ? flags.union(.offered) : flags)
        record.pointee.storedAt = tick - min(tick, policy.age.wholeMilliseconds)
        record.pointee.checked = purges.sequence
        let isWeightNew = record.pointee.weight != policy.weight
        record.pointee.weight = policy.weight
        if record.pointee.frequency == 0 {
            eviction.admit(index, frequency: policy.frequency)
        } else if !eviction.contains(index) {
            eviction.enqueue(index)
        } else if isWeightNew {
            eviction.remove(index)
            eviction.enqueue(index)
        }
        if let lives { schedule(index, lives) }
        spaces[Int(record.pointee.namespace)].counters.stored &+= 1
        offerToSecondLevel(index)
    }

    func schedule(_ index: UInt32, _ lives: Lives) {
        let record = arena[index]
        record.pointee.freshUntil = lives.freshUntil
        record.pointee.staleWhileRevalidate = lives.staleWhileRevalidate
        record.pointee.staleIfError = lives.staleIfError
        if wheel.contains(index) {
            if record.pointee.expiresAt == lives.expiresAt { return }
            wheel.remove(index)
            spaces[Int(record.pointee.namespace)].counters.expiring -= 1
        }
        record.pointee.expiresAt = lives.expiresAt
        guard lives.expiresAt != .max else { return }
        wheel.add(index)
        spaces[Int(record.pointee.namespace)].counters.expiring += 1
    }

    func offerToSecondLevel(_ index: UInt32) {
        let record = arena[index].pointee
        let space = spaces + Int(record.namespace)
        guard let least = space.pointee.settings.spillWeightMin, record.weight >= least,
            record.flags.isDisjoint(with: [.bypass, .negative, .fromSecondLevel, .offered]),
            record.block.value.count <= Limits.cacheSpillValueBytesMax
        else { return }
        arena[index].pointee.flags.insert(.offered)
        guard let lost = spills.append(EntryID(index: index, generation: record.generation)) else { return }
        space.pointee.counters.spillsLost &+= 1
        if arena[lost.index].pointee.generation == lost.generation { arena[lost.index].pointee.flags.remove(.offered) }
    }
}
