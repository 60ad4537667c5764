# What SPIRE lets its callers do: what it does without this file, but for the injectors that policy-data.json lists. Those may
# make and change the entries of their own cluster and little else, so that whoever takes an injector over does not rule
# SPIRE. On another installation edit policy-data.json and leave this file as it is.
#
# A listed injector must still be an admin, by admin_ids in server.conf or by its entry. Callers on the server's Unix socket
# show no SPIFFE ID: nothing here narrows what they may do.
package spire

# Without a result the server does not start ("no matching policies found"): policy-data.json is not as it has to be. A field
# under another name would otherwise be a limit that nobody sees is not there.
result := {
  "allow": "any" in callers,
  "allow_if_admin": "admin" in callers,
  "allow_if_local": "local" in callers,
  "allow_if_downstream": "downstream" in callers,
  "allow_if_agent": "agent" in callers,
} if {
  is_array(data.injectors)
  every injector in data.injectors {
    well_formed(injector)
  }
}

# Who may call the method.
default callers := []

callers := methods[input.full_method] if permitted

permitted if not restricted

permitted if {
  some injector in data.injectors
  injector.spiffe_id == input.caller
  may(injector)
}

restricted if {
  some injector in data.injectors
  injector.spiffe_id == input.caller
}

### What an injector may do

reads := {
  "/spire.api.server.entry.v1.Entry/GetEntry",
  "/spire.api.server.entry.v1.Entry/ListEntries",
  "/spire.api.server.bundle.v1.Bundle/GetBundle",
  "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle",
  "/spire.api.server.bundle.v1.Bundle/ListFederatedBundles",
  "/spire.api.server.trustdomain.v1.TrustDomain/GetFederationRelationship",
  "/spire.api.server.trustdomain.v1.TrustDomain/ListFederationRelationships",
  "/spire.api.server.trustdomain.v1.TrustDomain/RefreshBundle",
}

may(_) if input.full_method in reads

may(injector) if {
  input.full_method in {
    "/spire.api.server.entry.v1.Entry/BatchCreateEntry",
    "/spire.api.server.entry.v1.Entry/BatchUpdateEntry",
  }
  every entry in input.req.entries {
    acceptable(injector, entry)
  }
}

may(injector) if {
  input.full_method == "/spire.api.server.entry.v1.Entry/BatchDeleteEntry"
  every id in input.req.ids {
    own(injector, id)
  }
}

may(injector) if {
  input.full_method in {
    "/spire.api.server.trustdomain.v1.TrustDomain/BatchCreateFederationRelationship",
    "/spire.api.server.trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship",
  }
  every relationship in input.req.federation_relationships {
    some domain in injector.federation
    domain in {"*", relationship.trust_domain}
  }
}

### Entries

# The alias of the cluster's nodes. Its selectors say which nodes those are.
acceptable(injector, entry) if {
  entry.id == alias_entry(injector)
  if_written("spiffe_id", path(injector, entry, "spiffe_id") == alias_path(injector))
  if_written("parent_id", path(injector, entry, "parent_id") == "/spire/server")
  if_written("selectors", selectors(entry) == {s | some s in injector.node_selectors})
  every flag in flags {
    if_written(flag, object.get(entry, flag, false) == false)
  }
}

# A workload on those nodes.
acceptable(injector, entry) if {
  own(injector, entry.id)
  entry.id != alias_entry(injector)
  if_written("spiffe_id", registrable(injector, path(injector, entry, "spiffe_id")))
  if_written("parent_id", path(injector, entry, "parent_id") == alias_path(injector))
  every flag in flags {
    flag_acceptable(injector, entry, flag)
  }
}

# The last part has no dot: one cluster's name can begin with another's.
own(injector, id) if {
  startswith(id, entry_prefix(injector))
  last := trim_prefix(id, entry_prefix(injector))
  last != ""
  not contains(last, ".")
}

entry_prefix(injector) := sprintf("spire-injector.%s.", [injector.cluster])

alias_entry(injector) := sprintf("%snode", [entry_prefix(injector)])

alias_path(injector) := sprintf("/spire-injector/%s/node", [injector.cluster])

default registrable(_, _) := false

registrable(injector, id_path) if {
  matches_any(id_path, injector.paths)
  not matches_any(id_path, injector.except)
  not reserved(injector, id_path)
}

# The server's and the agents' IDs, all injectors' aliases, and the injectors' own: more of those would be more callers with
# an injector's power.
reserved(_, id_path) if matches_any(id_path, ["/spire", "/spire/*", "/spire-injector", "/spire-injector/*"])

reserved(injector, id_path) if {
  some other in data.injectors
  other.spiffe_id == sprintf("spiffe://%s%s", [trust_domain(injector), id_path])
}

flags := {"admin", "downstream", "store_svid"}

# Lowered, or not touched with the SPIFFE ID left as it is.
flag_acceptable(_, entry, flag) if {
  written(flag)
  not entry[flag]
}

flag_acceptable(_, _, flag) if {
  not written(flag)
  not written("spiffe_id")
}

# Another SPIFFE ID would take over a flag that the entry has; this injector can have given it none.
flag_acceptable(injector, _, flag) if {
  not written(flag)
  count(injector[flag]) == 0
}

flag_acceptable(injector, entry, flag) if {
  written("spiffe_id")
  matches_any(path(injector, entry, "spiffe_id"), injector[flag])
}

# An update writes the fields of its mask, or all without one. The others may be empty in the request, or hold anything.
written(_) if not input.req.input_mask

written(field) if input.req.input_mask[field]

if_written(field, _) if not written(field)

if_written(_, true)

# The path of a SPIFFE ID in the injector's trust domain; empty for every other.
path(injector, entry, field) := entry[field].path if {
  entry[field].trust_domain == trust_domain(injector)
} else := ""

trust_domain(injector) := split(injector.spiffe_id, "/")[2]

selectors(entry) := {sprintf("%s:%s", [s.type, s.value]) | some s in entry.selectors}

# A pattern is a path, or a path and "/*" for everything below it.
matches_any(id_path, patterns) if id_path in patterns

matches_any(id_path, patterns) if {
  some pattern in patterns
  endswith(pattern, "/*")
  startswith(id_path, trim_suffix(pattern, "*"))
}

### policy-data.json

well_formed(injector) if {
  lists := {"node_selectors", "paths", "except", "admin", "downstream", "store_svid", "federation"}
  object.keys(injector) == {"spiffe_id", "cluster"} | lists
  regex.match(`^spiffe://[^/]+/.`, injector.spiffe_id)
  regex.match(`^[A-Za-z0-9._-]+$`, injector.cluster)
  every name in lists {
    is_array(injector[name])
    every item in injector[name] {
      is_string(item)
    }
  }
  every name in {"paths", "except", "admin", "downstream", "store_svid"} {
    every item in injector[name] {
      startswith(item, "/")
    }
  }
}

### Who may call what in SPIRE 1.15, as SPIRE itself has it. Methods that are not here nobody may call.

methods := {
  "/spire.api.server.svid.v1.SVID/MintX509SVID": {"admin", "local"},
  "/spire.api.server.svid.v1.SVID/MintJWTSVID": {"admin", "local"},
  "/spire.api.server.svid.v1.SVID/MintWITSVID": {"admin", "local"},
  "/spire.api.server.svid.v1.SVID/BatchNewX509SVID": {"agent"},
  "/spire.api.server.svid.v1.SVID/NewJWTSVID": {"agent"},
  "/spire.api.server.svid.v1.SVID/BatchNewWITSVID": {"agent"},
  "/spire.api.server.svid.v1.SVID/NewDownstreamX509CA": {"downstream"},
  "/spire.api.server.bundle.v1.Bundle/GetBundle": {"any"},
  "/spire.api.server.bundle.v1.Bundle/AppendBundle": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/PublishJWTAuthority": {"downstream"},
  "/spire.api.server.bundle.v1.Bundle/PublishWITAuthority": {"downstream"},
  "/spire.api.server.bundle.v1.Bundle/CountBundles": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/ListFederatedBundles": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle": {"admin", "local", "agent"},
  "/spire.api.server.bundle.v1.Bundle/BatchCreateFederatedBundle": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/BatchUpdateFederatedBundle": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/BatchSetFederatedBundle": {"admin", "local"},
  "/spire.api.server.bundle.v1.Bundle/BatchDeleteFederatedBundle": {"admin", "local"},
  "/spire.api.server.debug.v1.Debug/GetInfo": {"local"},
  "/spire.api.server.entry.v1.Entry/CountEntries": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/ListEntries": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/GetEntry": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/BatchCreateEntry": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/BatchUpdateEntry": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/BatchDeleteEntry": {"admin", "local"},
  "/spire.api.server.entry.v1.Entry/GetAuthorizedEntries": {"agent"},
  "/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries": {"agent"},
  "/spire.api.server.logger.v1.Logger/GetLogger": {"local"},
  "/spire.api.server.logger.v1.Logger/SetLogLevel": {"local"},
  "/spire.api.server.logger.v1.Logger/ResetLogLevel": {"local"},
  "/spire.api.server.agent.v1.Agent/CountAgents": {"admin", "local"},
  "/spire.api.server.agent.v1.Agent/ListAgents": {"admin", "local"},
  "/spire.api.server.agent.v1.Agent/GetAgent": {"admin", "local"},
  "/spire.api.server.agent.v1.Agent/DeleteAgent": {"admin", "local"},
  "/spire.api.server.agent.v1.Agent/BanAgent": {"admin", "local"},
  "/spire.api.server.agent.v1.Agent/AttestAgent": {"any"},
  "/spire.api.server.agent.v1.Agent/RenewAgent": {"agent"},
  "/spire.api.server.agent.v1.Agent/PostStatus": {"agent"},
  "/spire.api.server.agent.v1.Agent/CreateJoinToken": {"admin", "local"},
  "/grpc.health.v1.Health/Check": {"local"},
  "/grpc.health.v1.Health/List": {"local"},
  "/grpc.health.v1.Health/Watch": {"local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/ListFederationRelationships": {"admin", "local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/GetFederationRelationship": {"admin", "local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/BatchCreateFederationRelationship": {"admin", "local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/BatchUpdateFederationRelationship": {"admin", "local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship": {"admin", "local"},
  "/spire.api.server.trustdomain.v1.TrustDomain/RefreshBundle": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/PrepareJWTAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/ActivateJWTAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/TaintJWTAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/RevokeJWTAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/GetX509AuthorityState": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/PrepareX509Authority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/ActivateX509Authority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509Authority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/TaintX509UpstreamAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509UpstreamAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/GetWITAuthorityState": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/PrepareWITAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/ActivateWITAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/TaintWITAuthority": {"admin", "local"},
  "/spire.api.server.localauthority.v1.LocalAuthority/RevokeWITAuthority": {"admin", "local"},
}
