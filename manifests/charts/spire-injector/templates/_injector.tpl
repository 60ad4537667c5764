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

{{- /* spire-injector.overlays are the names of the overlays that the values amount to, as a JSON list. */}}
{{- define "spire-injector.overlays" -}}
{{- $overlays := list }}
{{- if include "spire-injector.serverSocket" . }}
{{- $overlays = append $overlays "unix-socket" }}
{{- end }}
{{- if .Values.platform.spire.agentSocket.csi }}
{{- $overlays = append $overlays "csi" }}
{{- end }}
{{- if .Values.certManager.enabled }}
{{- $overlays = append $overlays "cert-manager" }}
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
{{- with $platform.sidecar.jwt }}
{{- $_ := set . "image" (.image | default (include "spire-injector.image" $)) }}
{{- end }}
{{- toYaml $platform }}
{{- end }}
