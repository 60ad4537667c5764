{{- /* renamed (list $ TEXT) is text of the kustomization with the names of this installation in the place of its own. */}}
{{- define "renamed" -}}
{{- $root := index . 0 }}
{{- $namespace := $root.Release.Namespace }}
{{- $injector := $root.Values.injector.namespace }}
{{- index . 1
  | replace "/ns/spire-injector/" (printf "/ns/%s/" $injector)
  | replace "spire-injector.spire-injector.svc" (printf "spire-injector.%s.svc" $injector)
  | replace "ns:spire-injector" (printf "ns:%s" $injector)
  | replace "example.org" $root.Values.trustDomain
  | replace "demo-cluster" $root.Values.clusterName
  | replace "\"spire-server.spire\"" (printf "\"spire-server.%s\"" $namespace)
  | replace "\"spire:spire-agent\"" (printf "\"%s:spire-agent\"" $namespace)
  | replace "namespace      = \"spire\"" (printf "namespace      = \"%s\"" $namespace)
  | replace "namespace: spire" (printf "namespace: %s" $namespace)
  | replace "serviceaccount:spire:" (printf "serviceaccount:%s:" $namespace)
  | replace "/run/spire/sockets" $root.Values.agent.socketDirectory
  | replace "\"INFO\"" (quote $root.Values.logLevel) }}
{{- end }}

{{- /* spire.overlays are the names of the overlays that the values amount to, as a JSON list. */}}
{{- define "spire.overlays" -}}
{{- $overlays := list }}
{{- if eq .Values.database.type "postgres" }}
{{- $overlays = append $overlays "ha" }}
{{- end }}
{{- if .Values.server.socketOnHost }}
{{- $overlays = append $overlays "unix-socket" }}
{{- end }}
{{- if .Values.openshift.enabled }}
{{- $overlays = append $overlays "openshift" }}
{{- end }}
{{- toJson $overlays }}
{{- end }}

{{- /* spire.upstreamAuthority is the plugin for an authority in a Secret. */}}
{{- define "spire.upstreamAuthority" -}}
plugins {
  UpstreamAuthority "disk" {
    plugin_data {
      cert_file_path = "/run/spire/upstream/tls.crt"
      key_file_path  = "/run/spire/upstream/tls.key"
      {{- if .Values.upstreamAuthority.hasRoot }}
      bundle_file_path = "/run/spire/upstream/ca.crt"
      {{- end }}
    }
  }
{{ end }}

{{- /* spire.serverConfig is the server's configuration. */}}
{{- define "spire.serverConfig" -}}
{{- $text := include "kustomize.text" (list . (eq .Values.database.type "postgres" | ternary "overlays/ha/server.conf" "base/server.conf"))
  | replace "config_map_key = \"bundle.crt\"" (printf "config_map_key = \"bundle.crt\"%s" (.Values.webhookBundle.enabled | ternary "\n      webhook_label  = \"spiffe.io/webhook\"" ""))
  | replace "max_open_conns = 40" (printf "max_open_conns = %d" (int .Values.database.maxOpenConns)) }}
{{- if .Values.upstreamAuthority.secretName }}
{{- $text = replace "plugins {" (include "spire.upstreamAuthority" .) $text }}
{{- end }}
{{- $text }}
{{- end }}

{{- /* spire.policyData says what SPIRE lets the injector do. */}}
{{- define "spire.policyData" -}}
{{- $data := include "kustomize.text" (list . "base/policy-data.json") | replace "/ns/spire/" (printf "/ns/%s/" .Release.Namespace) | fromJson }}
{{- $injector := first $data.injectors }}
{{- range $field, $value := .Values.injector.policy }}
{{- $_ := set $injector $field (eq $field "except" | ternary (concat $injector.except $value | uniq) $value) }}
{{- end }}
{{- toPrettyJson $data }}
{{- end }}

{{- /* spire.serverFiles and spire.agentFiles are the content of their ConfigMaps, as JSON. */}}
{{- define "spire.serverFiles" -}}
{{- dict "server.conf" (include "spire.serverConfig" .)
  "policy.rego" (include "kustomize.text" (list . "base/policy.rego"))
  "policy-data.json" (include "spire.policyData" .)
  "injector-entries.json" (include "kustomize.text" (list . (.Values.injector.onLabelledNodes | ternary "components/injector-nodes/injector-entries.json" "base/injector-entries.json"))) | toJson }}
{{- end }}

{{- define "spire.agentFiles" -}}
{{- $text := include "kustomize.text" (list . "base/agent.conf") }}
{{- if not .Values.agent.skipKubeletVerification }}
{{- $text = replace "skip_kubelet_verification = true" "skip_kubelet_verification = false" $text }}
{{- end }}
{{- dict "agent.conf" $text | toJson }}
{{- end }}

{{- /* spire.pod (list $ WORKLOAD IMAGE RESOURCES FILES) sets what is set in the same way in server and agent. */}}
{{- define "spire.pod" -}}
{{- $root := index . 0 }}
{{- $workload := index . 1 }}
{{- $image := index . 2 }}
{{- $template := $workload.spec.template }}
{{- $container := first $template.spec.containers }}
{{- $_ := set $container "image" (include "image" (list $root $image)) }}
{{- $_ := set $container "imagePullPolicy" $image.pullPolicy }}
{{- $_ := set $container "resources" (index . 3) }}
{{- include "spire.pullSecrets" (list $root $workload) }}
{{- /* A changed file rolls the pods that read it. */}}
{{- $_ := set $template.metadata "annotations" (dict "checksum/config" (sha256sum (index . 4))) }}
{{- end }}

{{- /* spire.pullSecrets (list $ WORKLOAD) sets the Secrets for pulling images. */}}
{{- define "spire.pullSecrets" -}}
{{- $secrets := list }}
{{- range (index . 0).Values.imagePullSecrets }}
{{- $secrets = append $secrets (dict "name" .) }}
{{- end }}
{{- if $secrets }}
{{- $_ := set (index . 1).spec.template.spec "imagePullSecrets" $secrets }}
{{- end }}
{{- end }}
