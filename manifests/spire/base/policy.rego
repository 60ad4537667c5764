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
  input.full_method == "/spire.api.server.entry.v1.Entry/BatchCreateEntry"
  every entry in input.req.entries {
    creatable(injector, entry)
  }
}

may(injector) if {
  input.full_method == "/spire.api.server.entry.v1.Entry/BatchUpdateEntry"
  every entry in input.req.entries {
    updatable(injector, entry)
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

may(injector) if {
  input.full_method == "/spire.api.server.trustdomain.v1.TrustDomain/BatchDeleteFederationRelationship"
  every trust_domain in input.req.trust_domains {
    some domain in injector.federation
    domain in {"*", trust_domain}
  }
}

### Entries

# A workload, on the nodes that rows place its identity on.
creatable(injector, entry) if {
  is_workload(injector, entry.id)
  registrable(injector, path(injector, entry, "spiffe_id"))
  is_alias_path(injector, path(injector, entry, "parent_id"))
  every flag in flags {
    flag_acceptable(injector, entry, flag)
  }
}

# A row: an identity on one node. Its entry ID says which, so that there cannot be two.
creatable(injector, entry) if {
  is_row(injector, entry)
  some selector in entry.selectors
  count(entry.selectors) == 1
  selector.type == "k8s_psat"
  startswith(selector.value, "agent_node_uid:")
  entry.id == sprintf("%s-%s", [row_entry(injector, entry), trim_prefix(selector.value, "agent_node_uid:")])
}

# A row of all nodes, for spire.entryScope: cluster. Without node_selectors there is none, and nothing of the two below.
creatable(injector, entry) if {
  is_row(injector, entry)
  entry.id == row_entry(injector, entry)
  selectors(entry) == {s | some s in injector.node_selectors}
}

# What an injector makes that has no rows yet, so that it works on while it is upgraded: one alias of all nodes.
creatable(injector, entry) if {
  entry.id == sprintf("%snode", [entry_prefix(injector)])
  path(injector, entry, "spiffe_id") == node_alias(injector)
  path(injector, entry, "parent_id") == "/spire/server"
  selectors(entry) == {s | some s in injector.node_selectors}
  plain(entry)
}

# And a workload on those nodes.
creatable(injector, entry) if {
  count(injector.node_selectors) > 0
  is_workload(injector, entry.id)
  registrable(injector, path(injector, entry, "spiffe_id"))
  path(injector, entry, "parent_id") == node_alias(injector)
  every flag in flags {
    flag_acceptable(injector, entry, flag)
  }
}

is_row(injector, entry) if {
  path(injector, entry, "parent_id") == "/spire/server"
  is_alias_path(injector, path(injector, entry, "spiffe_id"))
  plain(entry)
}

# It says who may be somewhere and nothing more.
plain(entry) if {
  every flag in flags {
    object.get(entry, flag, false) == false
  }
  every list in {"dns_names", "federates_with"} {
    count(object.get(entry, list, [])) == 0
  }
}

# Only a workload's entry is ever changed, and not into another one: neither the SPIFFE ID nor, but to where its identity has
# its own alias path, the parent. The entry as it is cannot be seen here, its ID can.
updatable(injector, entry) if {
  is_workload(injector, entry.id)
  input.req.input_mask
  not input.req.input_mask.spiffe_id
  if_written("parent_id", is_alias_path(injector, path(injector, entry, "parent_id")))
  every flag in flags {
    if_written(flag, object.get(entry, flag, false) == false)
  }
}

# The last part has no dot: one cluster's name can begin with another's.
own(injector, id) if {
  startswith(id, entry_prefix(injector))
  last := trim_prefix(id, entry_prefix(injector))
  last != ""
  not contains(last, ".")
}

# The last part of a workload's entry ID is a hash, that of a row begins with row-.
is_workload(injector, id) if {
  own(injector, id)
  regex.match(`^[a-z2-7]{26}$`, trim_prefix(id, entry_prefix(injector)))
}

row_entry(injector, entry) := sprintf("%srow-%s", [entry_prefix(injector), trim_prefix(entry.spiffe_id.path, alias_root(injector))])

entry_prefix(injector) := sprintf("spire-injector.%s.", [injector.cluster])

node_alias(injector) := sprintf("/spire-injector/%s/node", [injector.cluster])

# Below it each identity has a path of its own, which rows give to agents and which is the parent of its workloads' entries.
alias_root(injector) := sprintf("/spire-injector/%s/id/", [injector.cluster])

default is_alias_path(_, _) := false

is_alias_path(injector, id_path) if {
  startswith(id_path, alias_root(injector))
  regex.match(`^[a-z2-7]{26}$`, trim_prefix(id_path, alias_root(injector)))
}

default registrable(_, _) := false

registrable(injector, id_path) if {
  matches_any(id_path, injector.paths)
  not matches_any(id_path, injector.except)
  not reserved(injector, id_path)
}

# The server's and the agents' IDs, all injectors' alias paths, and the injectors' own: more of those would be more callers with
# an injector's power.
reserved(_, id_path) if matches_any(id_path, ["/spire", "/spire/*", "/spire-injector", "/spire-injector/*"])

reserved(injector, id_path) if {
  some other in data.injectors
  other.spiffe_id == sprintf("spiffe://%s%s", [trust_domain(injector), id_path])
}

flags := {"admin", "downstream", "store_svid"}

flag_acceptable(_, entry, flag) if object.get(entry, flag, false) == false

flag_acceptable(injector, entry, flag) if matches_any(path(injector, entry, "spiffe_id"), injector[flag])

# An update writes the fields of its mask. The others may be empty in the request, or hold anything.
if_written(field, _) if not input.req.input_mask[field]

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
