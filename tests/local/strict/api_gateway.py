"""The resource policy inside an OpenAPI document, an API's id, and whose address a request has.

AWS (API Gateway Developer Guide, `openapi-extensions-policy`): `x-amazon-apigateway-policy` is the resource policy of
the REST API; plain MiniStack ignores it, and the API would be open. An API's id is ten characters long in all that AWS
shows (`a1b2c3d4e5`), MiniStack's eight; a policy with `?` for each depends on that. (`api-gateway-mapping-template-reference`):
`$context.identity.sourceIp` is the address that the TCP connection comes from, not what a client writes in
X-Forwarded-For.
"""

from ministack.core.responses import get_request_client_ip
from ministack.services import apigateway_v1


def apply() -> None:
    import_rest_api = apigateway_v1._import_rest_api
    handle_execute = apigateway_v1.handle_execute
    resolve_custom_rest_api_id = apigateway_v1._resolve_custom_rest_api_id

    def resolve_id(tags):
        custom, error = resolve_custom_rest_api_id(tags)
        return (custom if custom or error else apigateway_v1._new_id()), error

    def import_with_policy(spec, base_data=None):
        base = dict(base_data or {})
        policy = spec.get("x-amazon-apigateway-policy")
        if policy and not base.get("policy"):
            base["policy"] = policy
        return import_rest_api(spec, base)

    async def execute(api_id, stage_name, method, path, headers, body, query_params):
        headers = {**headers, "x-forwarded-for": get_request_client_ip() or "127.0.0.1"}
        return await handle_execute(api_id, stage_name, method, path, headers, body, query_params)

    apigateway_v1._resolve_custom_rest_api_id = resolve_id
    apigateway_v1._import_rest_api = import_with_policy
    apigateway_v1.handle_execute = execute
