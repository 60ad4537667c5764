{{- /* renamed (list $ TEXT) is text of the kustomization with the names of this installation in the place of its own. */}}
{{- define "renamed" -}}
{{- $root := index . 0 }}
{{- $namespace := $root.Release.Namespace }}
{{- $spire := $root.Values.platform.spire }}
{{- $excluded := concat (list "kube-system" "kube-node-lease" "kube-public" $root.Values.spireNamespace $namespace "cert-manager") $root.Values.excludedNamespaces | uniq }}
{{- $text := index . 1
  | replace "[kube-system, kube-node-lease, kube-public, spire, spire-injector, cert-manager]" (toJson $excluded)
  | replace "namespaces: [spire]" (printf "namespaces: [%s]" $root.Values.spireNamespace)
  | replace "namespace: spire-injector" (printf "namespace: %s" $namespace)
  | replace "inject-ca-from: spire-injector/" (printf "inject-ca-from: %s/" $namespace)
  | replace "spire-injector.spire-injector.svc" (printf "spire-injector.%s.svc" $namespace)
  | replace "agent.sock" $spire.agentSocket.file
  | replace "spire-injector-client-ca" ($root.Values.clientCA.configMap | default "spire-injector-client-ca")
  | replace "csi.spiffe.io" ($spire.agentSocket.csi | default "csi.spiffe.io")
  | replace "/run/spire/sockets" ($spire.agentSocket.hostPath | default "/run/spire/sockets") }}
{{- with include "spire-injector.serverSocket" $root }}
{{- $text = replace "/run/spire/private" (dir .) $text }}
{{- end }}
{{- $text }}
{{- end }}

{{- /* spire-injector.serverSocket is the path of the SPIRE server's Unix socket, if the injector is to use that. */}}
{{- define "spire-injector.serverSocket" -}}
{{- if hasPrefix "unix://" .Values.platform.spire.server.address }}
{{- trimPrefix "unix://" .Values.platform.spire.server.address }}
{{- end }}
{{- end }}

{{- /* spire-injector.overlays are the folders of overlays and components that the values amount to, as a JSON list. */}}
{{- define "spire-injector.overlays" -}}
{{- $overlays := list }}
{{- if include "spire-injector.serverSocket" . }}
{{- $overlays = append $overlays "overlays/unix-socket" }}
{{- end }}
{{- if .Values.platform.spire.agentSocket.csi }}
{{- $overlays = append $overlays "overlays/csi" }}
{{- end }}
{{- with get (dict "cert-manager" "cert-manager" "spire" "spire-serving-cert" "self-rotated" "self-rotated") .Values.servingCertificate }}
{{- $overlays = append $overlays (printf "components/%s" .) }}
{{- end }}
{{- if .Values.clientCA.configMap }}
{{- $overlays = append $overlays "components/client-ca" }}
{{- end }}
{{- if .Values.metrics.secure }}
{{- $overlays = append $overlays "components/secure-metrics" }}
{{- end }}
{{- toJson $overlays }}
{{- end }}

{{- define "spire-injector.image" -}}
{{- include "image" (list . .Values.image) }}
{{- end }}

{{- /* spire-injector.platform is the platform file. */}}
{{- define "spire-injector.platform" -}}
{{- $platform := merge (dict "apiVersion" "injector.spiffe.io/v1alpha1" "kind" "InjectorConfig") (deepCopy .Values.platform) }}
{{- if not $platform.spire.nodeSelectors }}
{{- $_ := set $platform.spire "nodeSelectors" (list (printf "k8s_psat:cluster:%s" $platform.clusterName)) }}
{{- end }}
{{- range list $platform.sidecar.jwt $platform.sidecar.capture }}
{{- if . }}
{{- $_ := set . "image" (.image | default (include "spire-injector.image" $)) }}
{{- end }}
{{- end }}
{{- toYaml $platform }}
{{- end }}

{{- /*
spire-injector.servingCertificate is the data of the Secret with the serving certificate, as JSON: that of the cluster, so that an
upgrade leaves it in place, or with servingCertificate: helm a new one. Each call makes another.
*/}}
{{- define "spire-injector.servingCertificate" -}}
{{- $data := (lookup "v1" "Secret" .Release.Namespace "spire-injector-serving-cert").data | default dict }}
{{- if and (eq .Values.servingCertificate "helm") (not (get $data "tls.crt")) }}
{{- $host := printf "spire-injector.%s.svc" .Release.Namespace }}
{{- $ca := genCA "spire-injector-ca" 3650 }}
{{- $leaf := genSignedCert "spire-injector" nil (list $host (printf "%s.cluster.local" $host)) 3650 $ca }}
{{- $data = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $leaf.Cert) "tls.key" (b64enc $leaf.Key) }}
{{- end }}
{{- toJson $data }}
{{- end }}
