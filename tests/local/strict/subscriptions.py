"""A mail address is subscribed only when its owner has said so.

AWS (SNS API Reference, Subscribe): for HTTP and e-mail the owner of the endpoint must confirm with
ConfirmSubscription, and until then the answer is `pending confirmation`. Break-glass counts confirmed subscribers and
fails closed; plain MiniStack counts a mail address at once.
"""

import secrets

from ministack.services import sns


def apply() -> None:
    subscribe = sns._subscribe

    def subscribe_pending(params):
        topic_arn, protocol, endpoint = (sns._p(params, name) for name in ("TopicArn", "Protocol", "Endpoint"))
        topic, _error = sns._get_topic(topic_arn, "sns:Subscribe")
        known = {s["endpoint"] for s in topic["subscriptions"] if s["protocol"] == protocol} if topic else set()
        response = subscribe(params)
        if response[0] != 200 or protocol not in ("email", "email-json") or endpoint in known:
            return response
        for subscription in topic["subscriptions"]:
            if subscription["protocol"] == protocol and subscription["endpoint"] == endpoint:
                subscription.update(confirmed=False, token=secrets.token_hex(32))
                subscription["attributes"].update(PendingConfirmation="true", ConfirmationWasAuthenticated="false")
                shown = (
                    subscription["arn"] if sns._p(params, "ReturnSubscriptionArn").lower() == "true" else "pending confirmation"
                )
                answer = f"<SubscribeResult><SubscriptionArn>{shown}</SubscriptionArn></SubscribeResult>"
                response = sns._xml(200, "SubscribeResponse", answer)
        sns._refresh_subscription_counts(topic)
        return response

    sns._subscribe = subscribe_pending
